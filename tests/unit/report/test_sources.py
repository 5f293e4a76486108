"""Every number of the report leads to its stored value, and none stands without one."""

import re
from collections import defaultdict
from dataclasses import replace
from io import StringIO

import pandas as pd
import pytest

from interp_assets.figures.entry_states import entries_csv
from interp_assets.figures.records import Drawing
from interp_assets.report.page import render
from qc_standards.claims import claims_registry
from qc_standards.registry import declared_tests


def stored_example(walk, results):
    entries = pd.read_csv(StringIO(entries_csv(results.entries)))
    tables = {**results.tables, "tests": results.tests, "extended": results.extended, "figures/entries": entries}
    documents = {
        "verdict.json": results.verdict,
        "claims.json": {"claims": results.claims, "criteria": results.verdict["criteria"]},
        "standards.json": {"standards": results.standards},
        "statement.json": results.statement,
        "provenance.json": results.provenance,
    }
    for item in results.figures:
        drawn = isinstance(item, Drawing)
        documents[f"figures/{item.figure_id}.{'alt.txt' if drawn else 'txt'}"] = item.alt if drawn else item.reason
    specs = (*results.registry, *results.extended_registry)

    def table(name):
        known = name.replace("results/explorer/", "explorer_")
        return tables[known] if known in tables else walk.packaged(name, specs)

    return walk.Stored(table, lambda name: documents[name] if name in documents else walk.packaged(name, specs))


@pytest.fixture(scope="module")
def results(results, example_explorer):
    """The example with its explorer: every section of the page."""
    return replace(results, tables={**results.tables, **example_explorer.example_explorer()})


@pytest.fixture(scope="module")
def page(walk, results):
    return walk.Walk(render(results))


def test_every_sourced_element_shows_its_stored_value(walk, page, results):
    stored = stored_example(walk, results)
    faults = [(node.attrs, wrong) for node in page.sourced if (wrong := walk.fault(node, stored))]
    assert faults == []
    tables = {node.inherited("data-table") for node in page.sourced}
    assert {"tests", "extended", "registry", "evaluability", "control_outcomes", "causal_ablation"} <= tables
    assert {"figures/entries", "results/explorer/recovery"} <= tables
    documents = {node.attrs.get("data-document") for node in page.sourced}
    assert {"claims.json", "verdict.json", "standards.json", "statement.json", "provenance.json"} <= documents


def test_a_changed_cell_is_found(walk, page, results):
    tests = results.tests.assign(effect=results.tests["effect"] + 0.001)
    stored = stored_example(walk, results)
    stored.loaded["tests"] = dict(zip(tests["test_id"], tests.to_dict("records"), strict=True))
    wrong = {
        node.attrs["data-column"] for node in page.sourced if "data-column" in node.attrs and walk.fault(node, stored)
    }
    assert wrong == {"effect"}


def test_no_number_stands_without_a_source(walk, page):
    assert list(walk.unsourced(page)) == []


@pytest.mark.parametrize("text", ["0.123", "n = 12"])
def test_a_bare_number_is_found(walk, text):
    assert list(walk.unsourced(walk.Walk(f"<main><p>{text}</p></main>"))) == [text]


def test_rows_are_two_clicks_from_the_verdict(walk, results):
    """Criterion or claim to row by link; the row opens in place."""
    declared = declared_tests()
    skipped = pd.DataFrame([{"test_id": spec.test_id, "status": "skipped", "reason": "x"} for spec in declared])
    page = walk.Walk(render(replace(results, registry=declared, tests=skipped, figures=())))
    links = defaultdict(set)
    for node, text in page.texts:
        if node.tag == "a" and re.match(r"#A\d", node.attrs.get("href", "")):
            assert node.attrs["href"] == f"#{text}"
            links[next((each.attrs.get("id", "") for each in node.up() if each.tag == "article"), "")].add(text)
    registry = claims_registry()
    for name in "abcd":
        assert links[f"criterion-{name}"] == set(registry.criteria[name].tests)
    for name, claim in registry.claims.items():
        assert links[f"claim-{name}"] == set(claim.tests)
