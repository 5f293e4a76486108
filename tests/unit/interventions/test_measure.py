"""From a model and a screen to tables: every number again by another way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from interp_assets.interventions import measure
from interp_assets.interventions.cells import encoded_cells, richest_cells, row_counts, subset
from interp_assets.interventions.measure import Screen, measure_interventions
from interp_assets.models.families.geneformer import load_geneformer
from interp_assets.models.files.releases import read_release
from interp_assets.models.interventions import Intervention

TABLES = ("conditions", "aurocs", "fidelity", "heads")


def same(one, other, **tolerance):
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name), **(tolerance or {"check_exact": True}))


def filled_rows(total, counts):
    """Means with missing pairs at the lowest."""
    mean = np.where(counts > 0, total / np.maximum(counts, 1), np.inf)
    return np.where(counts > 0, mean, mean.min())


def auroc(label, score):
    return roc_auc_score(label[label >= 0], score[label >= 0])


@pytest.fixture(scope="module")
def by_hand(folder, naive, cells, screen):
    """Function: read-outs of the screen under a change, by the naive model, cell after cell."""
    model = load_geneformer(read_release(folder))
    scored = encoded_cells(model, cells, screen.genes)
    scored = subset(scored, richest_cells(scored, screen.source, 0))
    counts = row_counts(scored, screen.source)
    tokens = model.gene_tokens(screen.genes.tolist())

    def read(**change):
        attention, logits = np.zeros((4, 9, 22)), np.zeros((9, 22))
        for cell in range(scored.offsets.size - 1):
            span = slice(scored.encoded.offsets[cell], scored.encoded.offsets[cell + 1])
            own = slice(scored.offsets[cell], scored.offsets[cell + 1])
            run = naive.run(scored.encoded.tokens[span], **change)
            where, gene = scored.where[own], scored.gene[own]
            favour = (run.logits - run.logits.mean(0)).numpy()[:, tokens]
            for row, source in enumerate(screen.source):
                for at in where[gene == source]:
                    logits[row] += favour[at]
                    for layer in range(4):
                        attention[layer, row, gene] += run.weights[layer][:, at, where].mean(0).numpy()
        held = counts[np.arange(9), screen.source] > 0
        scores = {
            name: filled_rows(attention[layer][held], counts[held])
            for name, layer in (("attention", 2), ("last_attention", 3))
        }
        scores["logits"] = logits[held]
        labels, names = screen.label[held], screen.perturbations[held]
        return {
            name: {p: auroc(label, row) for p, label, row in zip(names, labels, score, strict=True)}
            for name, score in scores.items()
        }

    return read


@pytest.mark.parametrize(
    "name", ["clean", "top-10", "upstream-top-50", "bottom-5", "uniform-top-10", "layer-14", "mlp-8", "mlp-13-15"]
)
def test_aurocs_equal_the_naive_model_and_scikit_learn(measured, by_hand, name):
    change = {}
    if name != "clean":
        row = measured.conditions.set_index("condition").loc[name]
        parts = [part.split(".") for part in row["parts"].split(";")]
        kind = {"zero_heads": "zero", "uniform_attention": "uniform", "zero_mlp": "mlp"}[row["operation"]]
        change = {kind: [int(layer) for _, layer in parts] if kind == "mlp" else [(int(a), int(b)) for a, b in parts]}
    for read_out, expected in by_hand(**change).items():
        found = measured.auroc_of(name, read_out).to_dict()
        assert list(found) == sorted(expected)
        assert found == pytest.approx(expected, abs=1e-9), read_out


def test_every_condition_is_read_on_every_read_out_and_perturbation(measured):
    assert measured.facts["read_outs"] == ["attention", "last_attention", "logits"]
    names = ["clean", *measured.conditions["condition"]]
    sizes = measured.aurocs.groupby(["condition", "read_out"]).size()
    assert set(sizes.index) == {(name, read_out) for name in names for read_out in measured.facts["read_outs"]}
    assert set(sizes) == {measured.facts["perturbations"]}
    assert not measured.aurocs.duplicated(["condition", "read_out", "perturbation"]).any()
    assert measured.aurocs["auroc"].notna().all()


def test_what_lies_behind_the_read_out_leaves_it_exactly_as_it_was(measured):
    clean = {read_out: measured.auroc_of("clean", read_out) for read_out in measured.facts["read_outs"]}
    behind = measured.conditions[measured.conditions["upstream_parts"] == 0]
    assert {"layer-14", "mlp-15"} <= set(behind["condition"])
    for name in behind["condition"]:
        pd.testing.assert_series_equal(measured.auroc_of(name, "attention"), clean["attention"], check_exact=True)
        assert not measured.auroc_of(name, "logits").equals(clean["logits"]), name
    last = measured.conditions.query("first_layer == 3")["condition"]
    for name in last:
        pd.testing.assert_series_equal(measured.auroc_of(name, "last_attention"), clean["last_attention"])
    for name in measured.conditions.query("upstream")["condition"]:
        assert not measured.auroc_of(name, "attention").equals(clean["attention"]), name


def test_conditions_tell_how_far_the_model_moved_and_fidelity_tells_where(measured):
    fidelity = measured.fidelity.set_index(["condition", "state", "layer"]).sort_index()
    for row in measured.conditions.itertuples():
        own = fidelity.loc[row.condition, "hidden"]
        assert list(own.index) == list(range(row.first_layer, 4))
        assert row.hidden_distance == own["distance"].max() > 0
        assert row.hidden_layer == own["distance"].idxmax()
        assert row.logit_distance == fidelity.loc[(row.condition, "logits", -1), "distance"] > 0
        assert row.changed
    assert (measured.fidelity["ci_low"] <= measured.fidelity["distance"]).all()
    assert (measured.fidelity["distance"] <= measured.fidelity["ci_high"]).all()
    assert (measured.fidelity["resamples_done"] == measured.fidelity["resamples_requested"]).all()
    assert set(measured.fidelity["cells"]) == {measured.facts["cells"]} == set(measured.conditions["cells"])


def test_heads_are_ranked_by_the_reference_on_the_same_cells(measured, folder, naive, cells, screen):
    model = load_geneformer(read_release(folder))
    scored = encoded_cells(model, cells, screen.genes)
    scored = subset(scored, richest_cells(scored, screen.source, 0))
    counts = row_counts(scored, np.arange(22))
    total = np.zeros((4, 4, 22, 22))
    for cell in range(scored.offsets.size - 1):
        span = slice(scored.encoded.offsets[cell], scored.encoded.offsets[cell + 1])
        own = slice(scored.offsets[cell], scored.offsets[cell + 1])
        run, gene, where = naive.run(scored.encoded.tokens[span]), scored.gene[own], scored.where[own]
        for layer in range(4):
            total[layer][:, gene[:, None], gene] += run.weights[layer][:, where][:, :, where].numpy()
    heads = measured.heads.set_index(["layer", "head"])
    off = np.arange(22)[None, :] != screen.regulators[:, None]
    for layer, head in np.ndindex(4, 4):
        score = filled_rows(total[layer, head][screen.regulators], counts[screen.regulators])
        own = heads.loc[(layer, head)]
        assert own["reference_auroc"] == pytest.approx(roc_auc_score(screen.member[off], score[off]), abs=1e-9)
        score = filled_rows(total[layer, head][screen.source], counts[screen.source])
        expected = np.mean([auroc(label, row) for label, row in zip(screen.label, score, strict=True)])
        assert own["screen_auroc"] == pytest.approx(expected, abs=1e-9)
        assert own["composite"] == own["reference_auroc"] * own["screen_auroc"]
        assert own["upstream"] == (layer < 2)
    assert sorted(heads["rank"]) == list(range(1, 17))
    assert heads.sort_values("rank")["reference_auroc"].is_monotonic_decreasing
    assert measured.facts["ranking_regulators"] == 6
    assert measured.facts["ranking_pairs"] == screen.member.sum()


def test_little_memory_means_more_groups_and_the_same_numbers(model, cells, screen, plan, measured, monkeypatch):
    """Regression: heads were ranked by fewer regulators where memory was short."""
    runs = []
    kept = measure.Runner.run
    monkeypatch.setattr(
        measure.Runner, "run", lambda self, group, tell=None: runs.append(len(group)) or kept(self, group, tell)
    )
    same(measure_interventions(model, cells, screen, replace(plan, memory_gib=1e-12)), measured)
    assert set(runs) == {1}
    assert len(runs) > 15
    same(measure_interventions(model, cells, screen, replace(plan, memory_gib=2e-5)), measured)
    assert max(runs) > 1


def test_conditions_that_change_the_same_parts_share_a_run(model, cells, screen, plan, measured, monkeypatch):
    run = []
    kept = measure.Runner.run
    monkeypatch.setattr(
        measure.Runner, "run", lambda self, group, tell=None: run.extend(group) or kept(self, group, tell)
    )
    measure_interventions(model, cells, screen, plan)
    parts = {(row.operation, frozenset(row.parts.split(";"))) for row in measured.conditions.itertuples()}
    assert len(run) == len(set(run)) == len(parts) < len(measured.conditions)
    assert all(isinstance(change, Intervention) for change in run)


class OutOfMemoryError(RuntimeError):
    """Named like the error of torch."""


def test_a_device_out_of_memory_halves_the_batches_and_gives_the_same_numbers(
    model, cells, screen, plan, measured, monkeypatch
):
    kept, asked = measure.plan_batches, []

    def once(scored, tokens, shard):
        asked.append(tokens)
        if len(asked) == 1:
            raise OutOfMemoryError("no room for 40 tokens")
        return kept(scored, tokens, shard)

    monkeypatch.setattr(measure, "plan_batches", once)
    with pytest.warns(UserWarning, match="batches halved to 20 tokens"):
        found = measure_interventions(model, cells, screen, plan)
    assert asked == [40, 20]
    same(found, measured, rtol=1e-4, atol=1e-6)


def test_memory_that_no_batch_fits_and_other_errors_are_told(model, cells, screen, plan, monkeypatch):
    def full(*_):
        raise OutOfMemoryError("full")

    monkeypatch.setattr(measure, "plan_batches", full)
    with pytest.raises(OutOfMemoryError), pytest.warns(UserWarning, match="halved to 20"):
        measure_interventions(model, cells, screen, plan)

    def broken(*_):
        raise RuntimeError("shape")

    monkeypatch.setattr(measure, "plan_batches", broken)
    with pytest.raises(RuntimeError, match="shape"):
        measure_interventions(model, cells, screen, plan)


def test_without_a_token_head_there_are_no_logits_and_no_distance_of_theirs(write_bert, cells, screen, plan):
    """Regression: their distance was told as 0."""
    model = load_geneformer(read_release(write_bert(layers=4, head="none")))
    assert model.output() is None
    found = measure_interventions(model, cells, screen, plan)
    assert found.facts["read_outs"] == ["attention", "last_attention"] == list(found.aurocs["read_out"].unique())
    assert set(found.fidelity["state"]) == {"hidden"}
    assert found.conditions["logit_distance"].isna().all()
    assert (found.conditions["hidden_distance"] > 0).all()


def test_a_read_out_in_the_last_layer_is_read_once(model, cells, screen, plan, measured):
    found = measure_interventions(model, cells, screen, replace(plan, read_out=3))
    assert found.facts["read_outs"] == ["attention", "logits"] == list(found.aurocs["read_out"].unique())
    clean = found.auroc_of("clean", "attention")
    pd.testing.assert_series_equal(clean, measured.auroc_of("clean", "last_attention"))
    assert (found.conditions["upstream"] == found.conditions["upstream_of_last"]).all()


def test_a_read_out_in_the_first_layer_has_nothing_before_it(model, cells, screen, plan):
    found = measure_interventions(model, cells, screen, replace(plan, read_out=0))
    assert set(found.conditions["pool"]) == {"all"}
    assert not found.conditions["upstream_parts"].any()
    values = found.aurocs.query("read_out == 'attention'").pivot(
        index="perturbation", columns="condition", values="auroc"
    )
    assert (values.nunique(axis=1) == 1).all()


@pytest.mark.parametrize("shape", [{"layers": 1, "heads": 1}, {"layers": 2, "heads": 1}, {"layers": 1, "heads": 4}])
def test_the_smallest_models_are_run_too(write_bert, cells, screen, plan, shape):
    found = measure_interventions(
        load_geneformer(read_release(write_bert(**shape))), cells, screen, replace(plan, read_out=0)
    )
    assert ("entropy-matched-5" in set(found.conditions["condition"])) == (shape != {"layers": 1, "heads": 1})
    assert found.conditions["changed"].all()


def test_a_perturbation_in_no_cell_is_counted_and_left_out(model, cells, screen, plan, make_cells):
    counts = np.asarray(cells.counts.todense()).copy()
    counts[:, cells.genes == screen.perturbations[3]] = 0
    found = measure_interventions(model, make_cells(counts, cells.genes), screen, plan)
    assert found.facts["perturbations_in_no_cell"] >= 1
    assert found.facts["perturbations"] + found.facts["perturbations_in_no_cell"] == 9
    assert screen.perturbations[3] not in set(found.aurocs["perturbation"])


def test_regulators_in_no_cell_rank_no_head_and_stop_nothing(model, make_cells, screen, plan):
    """Regression: a reference whose regulators no cell holds ended in an error."""
    genes = [f"G{number}" for number in range(30)]
    counts = np.ones((3, 30), dtype=int)
    absent = next(gene for gene in range(22) if gene not in screen.source)
    counts[:, genes.index(screen.genes[absent])] = 0
    alone = replace(screen, regulators=np.array([absent]), member=screen.member[:1])
    found = measure_interventions(model, make_cells(counts, genes), alone, plan)
    assert (found.heads["reference_auroc"] == 0.5).all()
    assert found.heads["screen_auroc"].nunique() > 1


def test_as_many_perturbations_as_genes_are_no_square_of_pairs(model, make_cells, plan):
    """Regression: with every scored gene perturbed, the diagonal was taken for self pairs in whatever order."""
    names = np.array(["G3", "G0", "G5", "G1"])
    source = np.array([2, 3, 1, 0])
    label = np.array([[1, 0, -1, 1], [1, 1, 0, -1], [0, -1, 1, 1], [-1, 1, 0, 0]], dtype=np.int8)
    screen = Screen(
        genes=names, perturbations=names[source], source=source, label=label,
        regulators=np.array([0]), member=np.array([[False, True, False, True]]),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    cells = make_cells(1 + rng.poisson(3.0, (5, 30)), [f"G{number}" for number in range(30)])
    whole = measure_interventions(model, cells, screen, plan).auroc_of("clean", "attention")
    for row in range(4):
        alone = replace(screen, perturbations=names[source[[row]]], source=source[[row]], label=label[[row]])
        single = measure_interventions(model, cells, alone, replace(plan, random_sets=0)).auroc_of("clean", "attention")
        assert whole[single.index[0]] == single.iloc[0]


def test_a_bounded_run_says_on_how_many_tokens_it_rests(model, cells, screen, plan, measured):
    found = measure_interventions(model, cells, screen, replace(plan, tokens=60, random_sets=1))
    assert 0 < found.facts["tokens"] <= 60
    assert found.facts["cells"] < measured.facts["cells"]
    assert set(found.fidelity["tokens"]) == {found.facts["tokens"]}
    assert found.facts["random_sets"] == 1


def test_the_same_seed_gives_the_same_tables(model, cells, screen, plan, measured):
    same(measure_interventions(model, cells, screen, plan), measured)
