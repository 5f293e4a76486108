"""The graph as a reader of the UI meets it: keys, groups, pools, owners, checks."""

from __future__ import annotations

import pytest

from interp_assets.analyses import catalogue
from interp_assets.definitions import build_definitions
from interp_assets.figures.catalogue import CATALOGUE
from qc_standards.claims import claims_registry


@pytest.fixture(scope="module")
def graph():
    from interp_assets.layout import read_layout

    return build_definitions(read_layout()).resolve_asset_graph()


def keys(graph) -> set[str]:
    return {key.to_user_string() for key in graph.materializable_asset_keys}


def test_the_graph_holds_the_agreed_assets(graph) -> None:
    fixed = {"cells", "references", "gene_features", "de_labels", "correlation", "study_inputs", "release", "attention"}
    judged = {"test_results", "standards_results", "control_outcome", "qc_verdict", "report", "leaderboard"}
    analyses = {row.key for row in catalogue.built()}
    claims = {f"claim/{name}" for name in claims_registry().claims}
    figures = {f"figure/{spec.figure_id}" for spec in CATALOGUE}
    twins = {
        "random_weights/attention",
        *(f"{twin}/{key}" for twin in ("shuffled", "random_weights") for key in ("test_results", "control_outcome")),
    }
    raw = {key for key in keys(graph) if key.startswith("raw/")}
    assert keys(graph) - raw == fixed | judged | analyses | claims | figures | twins
    assert {"raw/baron_pancreas_human", "raw/pathway_commons_expression"} <= raw


def test_only_steps_that_run_a_model_hold_the_gpu_pool(graph) -> None:
    pooled = {key.to_user_string() for key in graph.materializable_asset_keys if "gpu" in (graph.get(key).pools or ())}
    assert pooled == {"attention", "random_weights/attention"}


def test_every_asset_is_owned_described_and_grouped(graph) -> None:
    for key in graph.materializable_asset_keys:
        node = graph.get(key)
        assert node.owners == ["team:interpretability"], key
        assert (node.description or "").strip(), key
        assert node.group_name != "default", key


def test_every_asset_is_kept_up_to_date_by_a_condition(graph) -> None:
    without = [
        key.to_user_string() for key in graph.materializable_asset_keys if not graph.get(key).automation_condition
    ]
    assert not without


def test_claims_and_standards_are_mirrored_as_checks(graph) -> None:
    checks = {(key.asset_key.to_user_string(), key.name) for key in graph.asset_check_keys}
    assert {name for asset, name in checks if asset == "qc_verdict"} == set(claims_registry().claims)
    assert len({name for asset, name in checks if asset == "standards_results"}) >= 12
