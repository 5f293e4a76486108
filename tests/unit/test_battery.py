"""The battery around the analyses: 153 rows whatever was built, and an evaluation no better than its weakest part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from interp_assets.analyses.assemble import DatasetArtefacts
from interp_assets.analyses.catalogue import built, row
from interp_assets.analyses.inputs import RoleInputs
from interp_assets.battery import (
    NOT_BUILT,
    NOT_FOR_CONTROLS,
    Gathered,
    all_rows,
    layer_choice,
    results_from_json,
    results_json,
    run_analysis,
    study_roles,
)
from interp_assets.battery_settings import BatterySettings
from interp_assets.cells.records import PreparedCells, ScreenLabels, Unavailable
from interp_assets.edges.layers import settled_depth
from interp_assets.edges.records import AttentionEdges, EdgeMatrix
from interp_assets.evaluation_tables import evaluation_table, lineage_table
from interp_assets.models.edge_tables.reading import edge_table_edges, load_edge_table
from interp_assets.models.records import ReleaseCard
from interp_assets.models.sourcing import TABLE, keep_table, open_edges
from interp_assets.settings import AttentionSettings, RoleFilling, Study
from qc_standards.claims import claims_registry
from qc_standards.records import DataOrigin, Status, TestResult, skipped
from qc_standards.registry import declared_ids, tests_of_role

GENES = np.array(["G0", "G1", "G2", "G3"])
CELLS = "a" * 64
CHOICE = settled_depth(13 / 17, "no dataset to choose on")
CHOSEN = (CHOICE, pd.DataFrame())


def study(**fits: str) -> Study:
    roles = {role: RoleFilling(dataset=f"{role}_data", role_fit=fit) for role, fit in fits.items()}
    return Study(
        name="mine",
        title="Mine",
        roles=MappingProxyType(roles),
        primary_reference="planted",
        references=("planted",),
        attention=AttentionSettings(),
        battery=BatterySettings(),
        seed=0,
        for_tests=True,
        path=Path("mine.yaml"),
    )


def edges(score: np.ndarray | None = None, name: str = "attention", layer: int | None = None) -> EdgeMatrix:
    score = np.ones((4, 4), dtype=np.float32) if score is None else score
    return EdgeMatrix(
        name=name, genes=GENES, score=score, cells_behind=np.ones((4, 4), np.int32), cells_hash=CELLS, layer=layer
    )


def inputs(role: str, *, mismatch: str = "", score: np.ndarray | None = None) -> RoleInputs:
    attention = AttentionEdges(
        release="mine",
        dataset=f"{role}_data",
        genes=GENES,
        layers=6,
        heads=1,
        cells_hash=CELLS,
        layer_matrix=lambda layer: edges(score, layer=layer),
    )
    return RoleInputs(
        role=role,
        dataset=f"{role}_data",
        data_origin="real",
        role_fit="full",
        genes=GENES,
        perturbations=GENES[:2],
        source=np.array([0, 1], np.int32),
        label=np.array([[-1, 1, 0, -1], [1, -1, 0, 0]], np.int8),
        informative=np.ones(4, bool),
        features=pd.DataFrame({"gene": GENES}),
        attention=attention,
        correlation=edges(name="correlation"),
        trivial={"co_detection": edges(name="co_detection")},
        references={},
        primary_reference="planted",
        exclusions=pd.DataFrame(),
        evaluability=pd.DataFrame(),
        context_mismatch=mismatch,
    )


def ran(test_id: str, origin: str = "real", **changes: Any) -> TestResult:
    values: dict[str, Any] = {"effect": 0.1, "p": 1 / 3, "ci_low": -0.25, "ci_high": 1e-17, "n": 40, "layer": 3}
    return TestResult(test_id=test_id, status=Status.RUN, data_origin=origin, **{**values, **changes})


def test_every_declared_test_has_a_row_in_declared_order() -> None:
    given = [ran("A21.2"), skipped("A16.1", "no network")]
    rows = all_rows(given, "mine")
    assert [result.test_id for result in rows] == list(declared_ids())
    assert len(rows) == 153
    by_id = {result.test_id: result for result in rows}
    assert by_id["A21.2"] == given[0]
    assert by_id["A16.1"].reason == "no network"
    others = [result for name, result in by_id.items() if name not in ("A21.2", "A16.1")]
    assert {(result.status, result.reason, result.release) for result in others} == {
        (Status.SKIPPED, NOT_BUILT, "mine")
    }


def test_result_rows_survive_json_to_the_last_digit() -> None:
    rows = [ran("A21.1", effect=0.1 + 0.2), skipped("A16.1", "no network, so no test"), ran("A21.2", p=None)]
    again = results_from_json(results_json(rows))
    assert again == rows
    assert again[0].effect == 0.30000000000000004
    assert [result.status for result in again] == [Status.RUN, Status.SKIPPED, Status.RUN]
    assert results_json(again) == results_json(rows)


def test_a_stored_row_that_breaks_a_rule_is_no_row() -> None:
    content = results_json([ran("A21.1")]).replace(b'"run"', b'"skipped"')
    with pytest.raises(ValueError, match="needs a reason"):
        results_from_json(content)


CARD = ReleaseCard(name="mine", kind="release", family="geneformer", gap=0.4, trained_on=("pancreas",))


def evaluated(results: list[TestResult], card: ReleaseCard = CARD, **changes: Any) -> dict[str, Any]:
    roles = changes.pop("roles", {"primary_screen": inputs("primary_screen")})
    fits = changes.pop("fits", dict.fromkeys(roles, "full"))
    table = evaluation_table(study(**fits), card, roles, results, changes.pop("cells_of", {}))
    assert len(table) == 1
    return dict(table.iloc[0])


@pytest.mark.parametrize(
    ("origins", "weakest"),
    [
        (["real", "real"], "real"),
        (["real", "archived"], "archived"),
        (["archived", "semi_synthetic", "real"], "semi_synthetic"),
        (["semi_synthetic", "simulated", "real"], "simulated"),
        ([], "none"),
    ],
)
def test_the_weakest_origin_behind_a_row_that_ran_counts(origins: list[str], weakest: str) -> None:
    of_screen = [spec.test_id for spec in tests_of_role("primary_screen")]
    results = [ran(test_id, origin) for test_id, origin in zip(of_screen, origins, strict=False)]
    results.append(ran("A03.1", str(DataOrigin.SIMULATED)))  # a row that simulates says so itself
    left_out = skipped("A37.1", "no data", data_origin=str(DataOrigin.SIMULATED))
    assert evaluated([*results, left_out])["data_origin"] == weakest


def test_one_partly_fitting_role_makes_the_fit_partial() -> None:
    roles = {name: inputs(name) for name in ("primary_screen", "second_screen")}
    assert evaluated([], roles=roles)["role_fit"] == "full"
    assert evaluated([], roles=roles, fits={"primary_screen": "full", "second_screen": "partial"})["role_fit"] == (
        "partial"
    )


def test_a_role_without_data_does_not_lower_the_fit() -> None:
    fits = {"primary_screen": "full", "second_screen": "partial"}
    assert evaluated([], fits=fits)["role_fit"] == "full"


def test_the_context_mismatch_is_that_of_the_screen_that_is_judged() -> None:
    roles = {
        "primary_screen": inputs("primary_screen", mismatch="K562 outcomes"),
        "second_screen": inputs("second_screen", mismatch="K562 outcomes"),
        "small_screens[1]": inputs("small_screens[1]", mismatch="another donor"),
    }
    assert evaluated([], roles=roles)["context_mismatch"] == "K562 outcomes"


def test_training_on_the_evaluated_cells_is_seen_behind_the_screen() -> None:
    unseen = {"cells_of": {"primary_screen_data": "liver"}}
    seen = {"cells_of": {"primary_screen_data": "pancreas"}}
    assert not evaluated([], **unseen)["trained_on_evaluated_cells"]
    assert evaluated([], **seen)["trained_on_evaluated_cells"]
    assert not evaluated([], card=replace(CARD, trained_on=()), **seen)["trained_on_evaluated_cells"]


@pytest.mark.parametrize(("gap", "untrained"), [(0.4, False), (0.0, True), (-0.1, True), (None, False)])
def test_a_model_that_does_not_beat_its_baseline_is_untrained(gap: float | None, untrained: bool) -> None:
    assert evaluated([], card=replace(CARD, gap=gap))["untrained"] == untrained


def test_lineage_names_the_layer_of_attention_and_counts_missing_candidates_only() -> None:
    score = np.ones((4, 4), np.float32)
    score[0, 1] = np.nan  # a candidate of the first perturbation; it has two, the second has three
    score[0, 3] = score[3, 3] = np.nan  # no candidates
    table = lineage_table({"primary_screen": inputs("primary_screen", score=score)}, CHOICE)
    by_score = table.set_index("score")
    assert set(by_score.index) == {"attention", "correlation", "co_detection"}
    assert by_score.loc["attention", "layer"] == 4  # 13/17 of five steps, rounded
    assert by_score.loc["attention", "layer_depth"] == pytest.approx(0.8)
    assert by_score.loc["attention", "missing_pair_share"] == pytest.approx(1 / 5)
    assert by_score.loc["correlation", "missing_pair_share"] == 0.0
    assert set(table["cells_hash"]) == {CELLS}


def test_roles_without_data_carry_the_reason() -> None:
    settings = study(primary_screen="full")
    data = {"primary_screen_data": Unavailable("primary_screen_data", "no mirror")}
    attention = {"primary_screen_data": Unavailable("primary_screen_data", "no cells")}
    roles, absent = study_roles(settings, "mine", built(), data, attention)
    assert roles == {}
    assert absent["primary_screen"] == "primary_screen_data: no mirror"
    empty = study_roles(study(), "mine", built(), {}, {})[1]
    assert empty["primary_screen"] == "study mine fills no role primary_screen"


def test_every_built_analysis_skips_its_rows_with_that_reason() -> None:
    for analysis in built():
        if not analysis.roles or analysis.reads_selection:
            continue  # simulates some rows of its own
        absent = {role: f"{role}_data: no mirror" for role in (*analysis.roles, *analysis.readings)}
        output = run_analysis(study(primary_screen="full"), "mine", analysis, Gathered(choice=CHOSEN, absent=absent))
        assert tuple(result.test_id for result in output.results) == analysis.test_ids
        assert {result.status for result in output.results} == {Status.SKIPPED}
        assert all("no mirror" in result.reason for result in output.results), analysis.number


def test_an_analysis_that_is_not_built_cannot_be_run() -> None:
    with pytest.raises(ValueError, match=r"analysis 3 .* is declared but not built"):
        run_analysis(study(), "mine", replace(row(3), function=None), Gathered(choice=CHOSEN))


@pytest.fixture
def cells() -> PreparedCells:
    from scipy.sparse import csr_matrix

    counts = csr_matrix(np.ones((3, 4), np.int32))
    return PreparedCells(
        dataset="toy",
        species="human",
        data_origin="real",
        counts=counts,
        log=counts.astype(np.float32),
        genes=GENES,
        obs=pd.DataFrame(index=["c1", "c2", "c3"]),
        control=np.ones(3, bool),
        cells_hash=CELLS,
        universe=GENES,
        facts={},
    )


def table_edges(folder: Path, stated: str) -> AttentionEdges:
    file = folder / "method.csv"
    file.write_text("source,target,score\nG0,G1,0.5\nG1,G2,0.25\n", encoding="utf-8")
    table = replace(load_edge_table(file), cells_hash=stated)
    return edge_table_edges(table, dataset="toy", universe=GENES)


def test_an_edge_table_of_the_same_cells_is_kept_and_opens_again(tmp_path: Path, cells: PreparedCells) -> None:
    kept = keep_table(table_edges(tmp_path, CELLS), cells, tmp_path / "kept")
    assert isinstance(kept, AttentionEdges)
    again = open_edges(tmp_path / "kept")
    assert again.genes.tolist() == ["G0", "G1", "G2"]
    assert again.layer_matrix(0).score[0, 1] == np.float32(0.5)
    assert again.cells_hash == CELLS


@pytest.mark.parametrize(("stated", "words"), [("b" * 64, "states cells bbbbbbbbbbbb"), ("", "states no cells_hash")])
def test_an_edge_table_of_other_cells_is_refused_with_the_hash_to_state(
    tmp_path: Path, cells: PreparedCells, stated: str, words: str
) -> None:
    refused = keep_table(table_edges(tmp_path, stated), cells, tmp_path / "kept")
    assert isinstance(refused, Unavailable)
    assert words in refused.reason
    assert f"cells_hash {CELLS}" in refused.reason
    assert not (tmp_path / "kept" / TABLE).exists()


def test_without_a_selection_dataset_the_settings_fix_the_depth_and_the_reason_is_kept() -> None:
    choice, profile = layer_choice(study(primary_screen="full"), "mine", None, None)
    assert (choice.depth, choice.dataset, choice.layer) == (13 / 17, "", None)
    assert choice.chosen_by == "study settings, depth 0.7647: study mine fills no role layer_selection"
    assert profile.empty


@pytest.mark.parametrize("lost", ["data", "attention"])
def test_a_selection_dataset_that_cannot_be_had_is_named(lost: str) -> None:
    settings = study(primary_screen="full", layer_selection="full")
    gone = Unavailable("elsewhere", "no mirror")
    data = gone if lost == "data" else artefacts()
    edges_there = gone if lost == "attention" else inputs("layer_selection").attention
    choice, _ = layer_choice(settings, "mine", data, edges_there)
    assert "layer_selection_data: no mirror" in choice.chosen_by
    assert choice.dataset == ""


def test_an_edge_table_has_one_layer_and_chooses_none() -> None:
    settings = study(primary_screen="full", layer_selection="full")
    single = replace(inputs("layer_selection").attention, layers=1)
    choice, _ = layer_choice(settings, "mine", artefacts(), single)
    assert "mine has one layer" in choice.chosen_by


def artefacts() -> DatasetArtefacts:
    nobody = ScreenLabels(
        dataset="layer_selection_data",
        data_origin="real",
        kind="none",
        modality="none",
        perturbations=np.empty(0, dtype=np.str_),
        genes=GENES,
        label=np.empty((0, 4), np.int8),
        informative=np.zeros(4, bool),
        table=pd.DataFrame(),
        exclusions=pd.DataFrame({"perturbation": [], "reason": []}, dtype=object),
    )
    features = pd.DataFrame({"mean": 1.0, "variance": 1.0, "dropout": 0.5, "out_degree": 0.0}, index=GENES)
    return DatasetArtefacts(
        labels=nobody, features=features, edges={"correlation": edges(name="correlation")}, references={}
    )


def test_a_selection_dataset_without_the_reference_says_so() -> None:
    settings = replace(study(primary_screen="full", layer_selection="full"), layer_reference="curated")
    choice, profile = layer_choice(settings, "mine", artefacts(), inputs("layer_selection").attention)
    assert "reference 'curated' is not available for layer_selection_data" in choice.chosen_by
    assert profile.empty


def test_the_evaluation_says_what_it_has_to_show() -> None:
    card = ReleaseCard(name="mine", kind="release", family="geneformer", release_id="x")
    roles = {"primary_screen": inputs("primary_screen")}
    own = pd.DataFrame({"role": ["small_screens[1]"], "agrees": ["yes"]})
    tables = {"modality_audit": own, "tf_strata": pd.DataFrame()}
    chosen = replace(CHOICE, dataset="elsewhere")
    shown = evaluation_table(study(primary_screen="full"), card, roles, [], {}, tables, chosen).iloc[0]
    assert shown["layer_selected"] and shown["screen_own_genes"] and shown["outcome_only"]
    assert not shown["own_gene_measured"] and not shown["tf_catalogue"] and not shown["null_guides"]
    named = {"primary_screen": replace(roles["primary_screen"], tf_catalogue="a_list")}
    assert evaluation_table(study(primary_screen="full"), card, named, [], {}).iloc[0]["tf_catalogue"]
    bare = evaluation_table(study(primary_screen="full"), card, {}, [], {}).iloc[0]
    assert not bare[["layer_selected", "direction_reference", "outcome_only", "null_guides"]].any()


def test_controls_run_only_what_the_criteria_read() -> None:
    inputs_of = {"primary_screen": inputs("primary_screen")}
    for analysis in built():
        if analysis.for_controls:
            continue
        output = run_analysis(
            study(primary_screen="full"), "mine.shuffled", analysis, Gathered(choice=CHOSEN, roles=inputs_of)
        )
        assert {result.status for result in output.results} == {Status.SKIPPED}
        assert {result.reason for result in output.results} == {NOT_FOR_CONTROLS}


def test_whatever_a_control_is_judged_by_is_run_for_controls() -> None:
    """A criterion that a control must pass or fail reads tests of analyses that controls run."""
    registry = claims_registry()
    judged = {name for item in registry.controls.values() for name in item.passes}
    tests = {test for name in judged for test in registry.criteria[name].tests}
    needed = {int(test[1:3]) for test in tests}
    assert needed
    assert {row(number).for_controls for number in needed} == {True}
