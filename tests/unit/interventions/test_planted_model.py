"""The planted transformer uses its early heads, and the whole path from cells to tables sees it; noise uses nothing."""

from __future__ import annotations

import numpy as np
import pytest

from interp_assets.interventions import measure
from interp_assets.interventions.conditions import Condition
from interp_assets.interventions.measure import Plan, Screen, measure_interventions
from interp_assets.models.controls.catalogue import random_weights_release
from interp_assets.models.controls.planted_transformer import build_planted_release, planted_plan
from interp_assets.models.families.geneformer import load_geneformer
from interp_assets.models.files.releases import read_release
from interp_assets.models.interventions import Intervention

GENES, REGULATORS, CELLS, SETS = 70, 24, 8, 6
PLAN = planted_plan(8)
EARLY = [(PLAN.early, head) for head in range(8)]
SIZES = (1, 2, 4, 8)


def condition(name: str, **changes) -> Condition:
    return Condition(
        name=name, family="top", operation="zero_heads", pool="all", intervention=Intervention(**changes), dose=1
    )


def conditions() -> list[Condition]:
    """Early heads by dose, as many random heads of the layers before the read-out, and what lies behind it."""
    rng = np.random.default_rng(1)
    upstream = [(layer, head) for layer in range(PLAN.read_out) for head in range(8)]
    found = [condition(f"early-{size}", zero=tuple(EARLY[:size])) for size in SIZES]
    for draw in range(SETS):
        order = [upstream[at] for at in rng.permutation(len(upstream))]
        found += [condition(f"random-{size}/{draw}", zero=tuple(order[:size])) for size in SIZES]
    behind = [(layer, head) for layer in range(PLAN.read_out, 8) for head in range(8)]
    return [
        *found,
        condition("uniform-early", uniform=tuple(EARLY)),
        condition("gate", mlp=(PLAN.gate,)),
        condition("heads behind", zero=tuple(behind)),
        condition("uniform behind", uniform=tuple(behind)),
        condition("layers behind", mlp=tuple(range(PLAN.read_out, 8))),
    ]


@pytest.fixture(scope="module")
def world(tmp_path_factory, make_cells):
    """Releases of the planted model and of its random-weights twin, cells, and the planted network as a screen."""
    rng = np.random.default_rng(4)
    edge = rng.random((REGULATORS, GENES)) < 0.15
    own = np.arange(REGULATORS)
    edge[own, own] = False
    score = edge * rng.lognormal(0.0, 0.4, edge.shape) + rng.normal(0.0, 0.25, edge.shape)
    genes = [f"g{number}" for number in range(GENES)]
    folder = tmp_path_factory.mktemp("releases")
    build_planted_release(
        folder / "control-planted", genes=genes, regulators=genes[:REGULATORS], score=score, seed=0, max_length=72
    )
    planted = read_release(folder / "control-planted")
    counts = (1 + rng.poisson(4.0, (CELLS, GENES))) * (rng.random((CELLS, GENES)) < 0.65)
    label = edge.astype(np.int8)
    label[own, own] = -1
    names = np.array(genes)
    screen = Screen(genes=names, perturbations=names[own], source=own, label=label, regulators=own, member=edge)
    releases = {"planted": planted, "random weights": random_weights_release(planted, folder / "twin", seed=0)}
    return releases, make_cells(counts, genes), screen


@pytest.fixture(scope="module")
def found(world):
    """Mean AUROC of every read-out and condition, and the conditions, of the planted model and of its twin."""
    releases, cells, screen = world
    plan = Plan(read_out=PLAN.read_out, tokens=0, random_sets=0, seed=0, progress=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "plan_conditions", lambda *_: tuple(conditions()))
        runs = {
            name: measure_interventions(load_geneformer(release), cells, screen, plan)
            for name, release in releases.items()
        }
    return {
        name: (run.aurocs.groupby(["read_out", "condition"])["auroc"].mean(), run.conditions.set_index("condition"))
        for name, run in runs.items()
    }


def test_the_read_out_carries_the_network_and_logits_do(found):
    auroc, _ = found["planted"]
    assert auroc["attention", "clean"] > 0.93
    assert auroc["logits", "clean"] > 0.93
    twin, _ = found["random weights"]
    assert abs(twin["attention", "clean"] - 0.5) < 0.06


@pytest.mark.parametrize("read_out", ["attention", "logits"])
def test_silencing_early_heads_lowers_the_read_out_with_dose_and_beyond_random_heads(found, read_out):
    auroc = found["planted"][0][read_out]
    values = [auroc["clean"], *(auroc[f"early-{size}"] for size in SIZES)]
    assert (np.diff(values) < -0.02).all(), values
    assert values[-1] < 0.65
    for size in SIZES:
        random = [auroc[f"random-{size}/{draw}"] for draw in range(SETS)]
        assert auroc[f"early-{size}"] < np.mean(random) - 0.02
        # a single random head may be an early one, and then does as much
        assert size < 4 or auroc[f"early-{size}"] < min(random) - 0.02


def test_uniform_attention_and_a_silenced_gate_take_it_away_too(found):
    auroc = found["planted"][0]["attention"]
    assert auroc["uniform-early"] < 0.65
    assert auroc["gate"] < 0.6


@pytest.mark.parametrize("name", ["planted", "random weights"])
def test_what_lies_behind_the_read_out_changes_the_network_but_not_the_read_out(found, name):
    auroc, conditions = found[name]
    for behind in ("heads behind", "uniform behind", "layers behind"):
        assert auroc["attention", behind] == auroc["attention", "clean"]
        assert conditions.loc[behind, "changed"]
        assert conditions.loc[behind, "upstream_parts"] == 0


def test_every_condition_is_material(found):
    _, conditions = found["planted"]
    assert conditions["changed"].all()
    assert (conditions["hidden_distance"] > 0.02).all()


def test_random_weights_lose_nothing_with_dose_and_no_more_than_by_random_heads(found):
    auroc, conditions = found["random weights"]
    auroc = auroc["attention"]
    values = np.array([auroc["clean"], *(auroc[f"early-{size}"] for size in SIZES)])
    assert not (np.diff(values) < -0.02).all()
    assert np.abs(values - 0.5).max() < 0.08
    for size in SIZES:
        assert min(auroc[f"random-{size}/{draw}"] for draw in range(SETS)) - 0.02 < auroc[f"early-{size}"]
    assert conditions.loc["early-8", "hidden_distance"] > 0.1  # it is moved all the same


def test_the_published_feed_forward_layer_is_the_gate(world):
    """The same path with the conditions of a study, on few cells."""
    releases, cells, screen = world
    plan = Plan(read_out=PLAN.read_out, tokens=150, random_sets=1, seed=0, progress=False)
    run = measure_interventions(load_geneformer(releases["planted"]), cells, screen, plan)
    gate = run.conditions.set_index("condition").loc["mlp-8"]
    assert gate["parts"] == f"mlp.{PLAN.gate}"
    clean, silenced = (run.auroc_of(name, "attention").mean() for name in ("clean", "mlp-8"))
    assert clean - silenced > 0.3
