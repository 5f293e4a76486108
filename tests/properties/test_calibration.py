"""Short form of the calibration (`make calibrate`): a few small worlds a seed, real cells, the real criteria.

No noise passes a criterion, p of true nulls are not grossly uneven, and a planted network passes. Six seeds bound
nothing; they notice an assay that has come loose. The rates themselves are in docs/calibration.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from interp_assets.calibration import scores
from interp_assets.calibration.catalogue import BY_OUTCOME, SHIPPED_STRENGTH, scored, worlds
from interp_assets.calibration.design import TINY
from interp_assets.calibration.judging import Finding
from interp_assets.calibration.run import calibrate
from interp_assets.calibration.screens import Material, draw_screen, load_material
from interp_assets.stats.uniformity import independent_uniformity
from qc_standards.records import Outcome

SEEDS, NULL_SEEDS = 6, 20
NOISES = ("pure", "confound_only", "coexpression")
PLANTED = f"planted {SHIPPED_STRENGTH:g} off 0.02"
# Recovery and outcomes without the dear criteria, for more seeds of p.
CHEAP = {
    "pure": scored("pure", scores.pure, analyses=(16, *BY_OUTCOME), criteria=()),
    "pure/permuted": worlds()["pure/permuted"].run,
}


@pytest.fixture(scope="module")
def material(data_wheels) -> Material:
    return load_material(data_wheels, TINY)


@pytest.fixture(scope="module")
def found(material) -> Mapping[str, list[Finding]]:
    """Findings by world, one a seed."""
    every = {name: [] for name in (*NOISES, PLANTED, *(f"null {name}" for name in CHEAP))}
    for seed in range(NULL_SEEDS):
        screen = draw_screen(material, TINY, seed)
        for name, run in CHEAP.items():
            every[f"null {name}"].append(run(screen, TINY))
        for name in (*NOISES, PLANTED) if seed < SEEDS else ():
            every[name].append(worlds()[name].run(screen, TINY))
    return every


@pytest.mark.parametrize("noise", NOISES)
def test_no_criterion_passes_on_noise(found, noise) -> None:
    assert len(found[noise]) == SEEDS
    for seed, one in enumerate(found[noise]):
        assert set(one.criteria) == {"a", "b", "c"}
        for name, outcome in one.criteria.items():
            assert outcome is not Outcome.PASS, f"seed {seed}, {name}: {one.reasons[name]}"


def test_noise_is_judged_and_not_set_aside(found) -> None:
    counts = Counter(outcome for noise in NOISES for one in found[noise] for outcome in one.criteria.values())
    assert counts[Outcome.NOT_EVALUABLE] == 0
    assert counts[Outcome.FAIL] >= 0.9 * counts.total()


def test_a_planted_network_passes_a_and_c(found) -> None:
    for name in "ac":
        passed = [one.criteria[name] is Outcome.PASS for one in found[PLANTED]]
        assert sum(passed) >= SEEDS - 1, f"{name}: {[one.reasons[name] for one in found[PLANTED]]}"


@pytest.mark.parametrize("world", CHEAP)
def test_p_of_true_nulls_are_not_grossly_uneven(found, world) -> None:
    """Kolmogorov at 1 in 10,000 a test: p crowded at one end, or on one half alone, cannot meet it."""
    from scipy.stats import kstwo

    for test in worlds()[world].nulls:
        p = [one.p[test] for one in found[f"null {world}"]]
        assert None not in p, test
        judged = independent_uniformity(np.array(p, dtype=float))
        assert judged.ks <= kstwo.ppf(0.9999, NULL_SEEDS), f"{test}: {sorted(p)}"


def test_cells_differ_between_seeds_and_a_seed_repeats_itself(material) -> None:
    one, other = (draw_screen(material, TINY, seed) for seed in (0, 1))
    again = draw_screen(material, TINY, 0)
    correlation = [screen.artefacts.edges["correlation"] for screen in (one, other, again)]
    assert correlation[0].cells_hash != correlation[1].cells_hash
    assert correlation[0].cells_hash == correlation[2].cells_hash
    assert one.elsewhere.cells_hash != correlation[0].cells_hash
    assert np.array_equal(one.artefacts.labels.label, again.artefacts.labels.label)
    assert np.array_equal(scores.pure(one), scores.pure(again))
    assert not np.array_equal(scores.pure(one), scores.pure(other)[: len(one.source)])


@pytest.mark.slow
def test_one_process_and_two_make_the_same_files(data_wheels, tmp_path) -> None:
    seeds = {"noise": 2, "power": 0, "matched": 1}
    for processes in (1, 2):
        calibrate(tmp_path / str(processes), TINY, seeds, data_wheels, processes=processes, progress=False)
    files = sorted(path.relative_to(tmp_path / "1") for path in (tmp_path / "1").rglob("*.parquet"))
    assert len(files) == 3
    for path in files:
        assert (tmp_path / "1" / path).read_bytes() == (tmp_path / "2" / path).read_bytes(), path
    assert set(pd.read_parquet(tmp_path / "1" / files[0])["world"])
