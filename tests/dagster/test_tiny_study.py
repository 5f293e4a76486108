"""The whole graph on a tiny planted study: what it writes, what it recomputes, what it says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from interp_assets import code_version as versions
from interp_assets.analyses.catalogue import row
from interp_assets.assets import analyses as analysis_assets
from interp_assets.definitions import build_definitions
from interp_assets.evaluate import Evaluator, Progress, dagster_instance
from interp_assets.layout import CONTROLS, grid_key, read_layout
from interp_assets.models.adapter import WITHOUT_ATTENTION
from interp_assets.models.attention.store import head_matrix
from interp_assets.models.files.adding import Request, add_release
from interp_assets.models.files.releases import find_releases
from interp_assets.storage import canonical_json, sha256_of
from qc_standards.gate import check_folder
from qc_standards.records import Outcome, VerdictState
from qc_standards.registry import declared_ids


@pytest.fixture(scope="module")
def release(tiny) -> str:
    return sorted(found.name for found in find_releases(tiny.layout.folders.releases).complete)[0]


@pytest.fixture(scope="module")
def instance(tiny) -> Iterator[dg.DagsterInstance]:
    with dagster_instance(tiny.layout) as found:
        yield found


@pytest.fixture(scope="module")
def first_run(tiny, instance, release) -> Progress:
    return Evaluator(build_definitions(tiny.layout), tiny.layout, instance).evaluate("tiny", [release])


@pytest.fixture(scope="module")
def results(tiny, first_run, release) -> Path:
    return tiny.layout.folders.store / "tiny"


def everyone(release: str) -> list[str]:
    return [release, "control-planted", "control-coexpression", f"{release}.shuffled", f"{release}.random-weights"]


def test_every_evaluation_leaves_the_files_others_rely_on(results: Path, release: str) -> None:
    for name in everyone(release):
        judged = ("claims.json", "verdict.json", "standards.json", "statement.json")
        for file in ("tests.parquet", "tests.csv", *judged, "report.html"):
            assert (results / name / file).is_file(), f"{name} lacks {file}"
        tests = pd.read_parquet(results / name / "tests.parquet")
        assert tests["test_id"].tolist() == list(declared_ids())
        skipped = tests[tests["status"] == "skipped"]
        assert (skipped["reason"] != "").all()
        assert skipped["p"].isna().all()


def test_the_gate_agrees_with_every_stored_verdict(results: Path, release: str) -> None:
    for name in everyone(release):
        check_folder(results / name)


def test_the_planted_control_passes_what_it_was_built_to_pass(results: Path, release: str) -> None:
    judgement = check_folder(results / "control-planted")
    reasons = {name: criterion.reason for name, criterion in judgement.criteria.items()}
    outcomes = {name: judgement.criteria[name].outcome for name in ("a", "b", "c", "d")}
    assert outcomes == {
        "a": Outcome.PASS,
        "b": Outcome.PASS,
        "c": Outcome.PASS,
        "d": Outcome.PASS,
    }, reasons
    controls = pd.read_parquet(results / release / "tables" / "control_outcomes.parquet").set_index("control")
    assert set(controls.index) == set(everyone(release)) - {release}
    assert controls["behaves"].all(), controls["reason"].to_dict()


def test_negative_controls_are_refuted(results: Path, release: str) -> None:
    for name in everyone(release)[2:]:
        judgement = check_folder(results / name)
        assert judgement.verdicts[judgement.headline].state is VerdictState.REFUTED, name


def test_planted_outcomes_clear_no_claim_about_a_release(results: Path, release: str) -> None:
    judgement = check_folder(results / release)
    assert not [verdict.claim for verdict in judgement.verdicts.values() if verdict.cleared]
    assert str(judgement.verdicts[judgement.headline].data_origin) == "semi_synthetic"


def test_both_scores_come_from_the_same_cells(results: Path, release: str) -> None:
    lineage = pd.read_parquet(results / release / "tables" / "lineage.parquet")
    assert lineage["cells_hash"].nunique() == 1
    assert set(lineage["score"]) == {"attention", "correlation", "rank_distance", "co_detection"}


def test_the_explorer_repeats_the_stored_attention_and_recovery(tiny, results: Path, release: str) -> None:
    folder = results / release / "results" / "explorer"
    scores, facts = pd.read_parquet(folder / "scores.parquet"), pd.read_parquet(folder / "facts.parquet").iloc[0]
    attention = tiny.layout.folders.store / "attention" / release / str(facts["dataset"])
    layer, head = int(facts["read_layer"]), int(facts["heads"]) - 1
    edges = head_matrix(attention, layer, head)
    at = {str(gene): place for place, gene in enumerate(edges.genes)}
    found = scores[(scores["score"] == "attention") & (scores["layer"] == layer) & (scores["head"] == head)]
    expected = edges.score[found["regulator"].map(at), found["target"].map(at)]
    assert len(expected) == facts["pairs"]
    assert found["value"].astype("float32").equals(pd.Series(expected, index=found.index, name="value"))
    table = pd.read_parquet(results / release / "tables" / "per_regulator.parquet")
    recovery = pd.read_parquet(folder / "recovery.parquet").query("score == 'attention' and head == -1")
    both = recovery[recovery["layer"] == layer].merge(
        table[table["edge"] == "attention"], on=["regulator", "reference"], suffixes=("", "_of_analysis_18")
    )
    assert len(both) >= facts["regulators_shown"]
    assert both["auroc"].tolist() == pytest.approx(both["auroc_of_analysis_18"].tolist(), abs=1e-12)
    assert "explorer-data" in (results / release / "report.html").read_text(encoding="utf-8")


def test_every_number_of_a_report_leads_to_its_stored_value(walk, results: Path, release: str) -> None:
    for name in (release, "control-planted", "control-coexpression"):
        assert walk.faults_of(results / name) == [], name


def test_every_file_in_the_store_belongs_to_one_asset(tiny, first_run, release: str) -> None:
    store = tiny.layout.folders.store
    owners: dict[str, list[str]] = {}
    for listing in (store / ".files").rglob("*.json"):
        folder = listing.parent.relative_to(store / ".files")
        for name in json.loads(listing.read_text()):
            owners.setdefault((folder / name).as_posix(), []).append(listing.stem)
    shared = {name: keys for name, keys in owners.items() if len(keys) > 1}
    assert not shared
    by_folder = ("cells/", "attention/", "releases/", ".files/", ".dagster/")
    files = (path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file())
    orphans = [name for name in files if name not in owners and not name.startswith(by_folder)]
    assert not orphans


def test_a_second_run_recomputes_nothing(tiny, instance, first_run, release: str) -> None:
    assert first_run.steps
    again = Evaluator(build_definitions(tiny.layout), tiny.layout, instance).evaluate("tiny", [release])
    assert again.steps == []


def test_the_ui_calls_everything_fresh(tiny, instance, first_run, release: str) -> None:
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import ModuleTarget
    from dagster_graphql.schema import create_schema

    target = ModuleTarget("interp_assets.definitions", attribute=None, working_directory=None, location_name="interp")
    query = """query Fresh($key: AssetKeyInput!, $partition: String!) {
      assetNodes(assetKeys: [$key]) { assetKey { path } staleStatus(partition: $partition) } }"""
    with WorkspaceProcessContext(instance, target) as process:
        context = process.create_request_context()
        for key, partition in (("attention", f"planted_tiny|{release}"), ("report", f"{release}|tiny")):
            variables = {"key": {"path": [key]}, "partition": partition}
            answer = create_schema().execute(query, variable_values=variables, context_value=context)
            assert answer.errors is None
            assert [node["staleStatus"] for node in answer.data["assetNodes"]] == ["FRESH"]


def test_editing_one_analysis_reruns_only_its_branch(
    tiny, instance, first_run, release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The edit changes code but no result, so content stops the cascade right behind the analysis."""

    def edited(*sources: str) -> str:
        version = versions.code_version(*sources)
        return f"{version}-edited" if row(21).function in sources else version

    monkeypatch.setattr(analysis_assets, "code_version", edited)
    progress = Evaluator(build_definitions(tiny.layout), tiny.layout, instance).evaluate("tiny", [release])
    assert sorted(progress.steps) == sorted(
        ("analysis_21", grid_key(release=name, study="tiny")) for name in (release, *CONTROLS)
    )


def alone(
    definitions: dg.Definitions, instance: dg.DagsterInstance, key: str, release: str
) -> dg.ExecuteInProcessResult:
    """Materialise one asset in a run of its own, as anybody may do in the UI."""
    job = definitions.resolve_implicit_global_asset_job_def()
    subset = job.get_subset(asset_selection={dg.AssetKey(key.split("/"))})
    partition = grid_key(release=release, study="tiny")
    return subset.execute_in_process(instance=instance, partition_key=partition, raise_on_error=False)


@pytest.mark.parametrize("key", ["claim/survives_confounds_and_degree", "figure/*", "supplement/table_s11", "report"])
def test_nothing_speaks_from_a_verdict_after_a_standard_failed(tiny, instance, results, release: str, key: str) -> None:
    """Materialised alone after the lineage went wrong: refused, and what was said before is left as it is.

    The wrong table is one that a run has stored: it is in the list of what its asset wrote.
    """
    folder = results / release
    lineage = folder / "tables" / "lineage.parquet"
    listing = tiny.layout.folders.store / ".files" / "tiny" / release / "test_results.json"
    kept, listed = lineage.read_bytes(), listing.read_bytes()
    definitions = build_definitions(tiny.layout)
    if key == "figure/*":
        key = sorted(
            each.to_user_string()
            for each in definitions.resolve_asset_graph().materializable_asset_keys
            if each.path[0] == "figure"
        )[0]
    said = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path != lineage}
    try:
        frame = pd.read_parquet(lineage)
        frame.loc[frame["score"] == "correlation", "cells_hash"] = "0" * 64
        frame.to_parquet(lineage, index=False)
        listing.write_text(canonical_json(json.loads(listed) | {"tables/lineage.parquet": sha256_of(lineage)}))
        done = alone(definitions, instance, key, release)
        assert not done.success
        (failure,) = [event for event in done.all_events if event.is_step_failure]
        error = failure.event_specific_data.error
        told = f"{error.message} {error.cause.message if error.cause else ''}"
        assert "StaleVerdictError" in told
        assert "materialise standards_results and qc_verdict" in told
        assert {path: path.read_bytes() for path in said} == said
    finally:
        lineage.write_bytes(kept)
        listing.write_bytes(listed)
    assert alone(definitions, instance, key, release).success


def test_a_release_without_attention_ends_with_a_verdict(
    tiny, instance, first_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model whose attention cannot be read is a result: its rows are skipped with the reason, nothing is aborted.

    A release beside it whose file is not what its manifest states is left out, and stops nothing.
    """
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "4layer_model.torch").write_text("never opened")
    add_release(tmp_path / "model", tmp_path / "releases", Request(name="uce"))
    monkeypatch.setenv("INTERP_RELEASES", str(tmp_path / "releases"))
    layout = read_layout()
    broken = tmp_path / "releases" / "broken"
    shutil.copytree(tmp_path / "releases" / "uce", broken)
    manifest = json.loads((broken / "release.json").read_text())
    weights = broken / manifest["files"][0]["path"]
    weights.write_bytes(weights.read_bytes()[::-1])
    (broken / "release.json").write_text(json.dumps(manifest | {"name": "broken"}))
    progress = Evaluator(build_definitions(layout), layout, instance).evaluate("tiny", ["broken", "uce"])
    assert list(progress.failed) == ["broken"]
    assert "sha256" in progress.failed["broken"]
    assert not (layout.folders.store / "tiny" / "broken" / "verdict.json").exists()
    folder = layout.folders.store / "tiny" / "uce"
    judgement = check_folder(folder)
    assert judgement.verdicts[judgement.headline].state is VerdictState.NOT_EVALUABLE
    tests = pd.read_parquet(folder / "tests.parquet").set_index("test_id")
    told = tests["reason"].str.contains(WITHOUT_ATTENTION["uce"], regex=False)
    assert told.sum() > 50
    assert (tests.loc[told, "status"] == "skipped").all()
    assert (folder / "report.html").is_file()
