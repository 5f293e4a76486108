"""The explorer in a real browser: every choice shows the stored numbers, by keyboard, on paper and without a script."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from interp_assets.report import page as report_page
from interp_assets.report.explorer_data import three_digits

EXAMPLES = Path(__file__).parents[1] / "unit" / "report"
_SPEC = importlib.util.spec_from_file_location("example_explorer", EXAMPLES / "example_explorer.py")
explorer = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(explorer)


@pytest.fixture(scope="module")
def tables():
    return explorer.example_explorer()


@pytest.fixture(scope="module")
def address(example, tables, tmp_path_factory):
    results = example.example_results(figures=())
    file = tmp_path_factory.mktemp("explorer") / "report.html"
    file.write_text(report_page.render(replace(results, tables={**results.tables, **tables})), encoding="utf-8")
    return file.as_uri()


@pytest.fixture(scope="module")
def wide(opened, address):
    return opened(address, viewport={"width": 1280, "height": 900})


@pytest.fixture(scope="module")
def shown(wide):
    return wide.page


def pick(shown, regulator=0, reference=0, layer=explorer.READ, head=-1):
    for name, value in (("regulator", regulator), ("reference", reference), ("layer", layer), ("head", head + 1)):
        shown.select_option(f"#explorer-{name}", str(value))


def column(shown, number, table="#explorer-table"):
    cells = f"{table} tbody tr > :nth-child({number})"
    return shown.locator(cells).all_text_contents()


def test_names_that_try_to_be_markup_stay_text(shown):
    assert shown.title() != "taken"
    options = shown.locator("#explorer-regulator option").all_text_contents()
    assert [text.removesuffix(" (perturbed in the screen)") for text in options] == list(explorer.REGULATORS)
    pick(shown, regulator=2)
    assert explorer.REGULATORS[2] in shown.inner_text("#explorer-said")
    assert shown.locator("#explorer img, #explorer b").count() == 0


def test_the_default_choice_is_the_one_without_a_script(shown):
    pick(shown)
    assert shown.text_content("#explorer-said") == shown.text_content("#explorer-default")
    static = ".explorer-static .explorer-table"
    rows = shown.locator(f"{static} tbody tr").count()
    for number in range(1, 13):
        assert column(shown, number)[:rows] == column(shown, number, static), number
    assert "(frozen: the tests read it)" in shown.locator("#explorer-layer option:checked").text_content()


@pytest.mark.parametrize(("regulator", "reference", "layer", "head"), [(0, 0, 2, -1), (1, 1, 0, 1), (1, 2, 2, 0)])
def test_a_choice_shows_the_stored_scores_ranks_and_recovery(shown, tables, regulator, reference, layer, head):
    pick(shown, regulator, reference, layer, head)
    name, network = explorer.REGULATORS[regulator], tables["explorer_references"]["reference"][reference]
    scores = tables["explorer_scores"]
    stored = scores[(scores["regulator"] == name) & (scores["layer"] == layer) & (scores["head"] == head)]
    found = dict(zip(column(shown, 1), zip(column(shown, 5), column(shown, 6), strict=True), strict=True))
    assert found == {row.target: (three_digits(row.value), f"{row.rank:g}") for row in stored.itertuples()}
    recovery = tables["explorer_recovery"]
    own = recovery[(recovery["regulator"] == name) & (recovery["reference"] == network)]
    here = own[(own["score"] == "attention") & (own["layer"] == layer) & (own["head"] == head)].iloc[0]
    said = shown.inner_text("#explorer-said")
    assert f"at AUROC {here['auroc']:.3f}." in said
    assert ("states no direction" in said) == (network == "both_ways")
    told = shown.locator("#explorer-chart svg > text[text-anchor=end]").all_text_contents()
    free = own[own["layer"] == -1]["auroc"]
    assert [text for text in told if text.startswith("0.")] == [f"{value:.3f}" for value in (here["auroc"], *free)]


@pytest.mark.parametrize("reference", [0, 1, 2])
def test_the_chart_marks_targets_at_their_ranks(shown, tables, reference):
    pick(shown, regulator=0, reference=reference, layer=0)
    name, network = explorer.REGULATORS[0], tables["explorer_references"].iloc[reference]
    if network["kind"] == "outcome":
        targets = tables["explorer_targets"]
        marked = set(targets[(targets["regulator"] == name) & (targets["outcome"] == 1)]["target"])
    else:
        listed = tables["explorer_listed"]
        marked = set(listed[(listed["regulator"] == name) & (listed["reference"] == network["reference"])]["target"])
    scores = tables["explorer_scores"]
    stored = scores[(scores["regulator"] == name) & (scores["layer"] == 0) & (scores["head"] == -1)]
    rank = dict(zip(stored["target"], stored["rank" if network["directed"] else "rank_both_directions"], strict=True))
    bars = shown.locator("#explorer-chart g:has(> line.target)").evaluate_all(
        "all => all.map(g => [g.querySelector('title').textContent, +g.querySelector('line').getAttribute('x1')])"
    )
    first = [bar for bar in bars if bar[0] in {f"{gene}, rank {rank[gene]:g} of 37" for gene in marked}]
    assert len(bars) == 5 * len(marked)
    assert len(first) >= len(marked)
    place = {title.split(",")[0]: x for title, x in bars[: len(marked)]}
    order = sorted(marked, key=lambda gene: rank[gene])
    assert (np.diff([place[gene] for gene in order]) >= 0).all()


def test_each_number_of_the_table_names_its_stored_cell(shown, tables):
    pick(shown, regulator=1, layer=2, head=1)
    cells = shown.locator("#explorer-table data").evaluate_all("all => all.map(d => [d.textContent, {...d.dataset}])")
    assert len(cells) > 200
    for text, place in cells:
        table = f"explorer_{place['table'].removeprefix('results/explorer/')}"
        value = tables[table][place["column"]].iloc[int(place["row"])]
        exact = place["column"] in ("rank", "cells_behind")
        assert text == (f"{value:,g}" if exact else three_digits(value)), place


def test_it_works_by_keyboard(shown):
    pick(shown)
    shown.focus("#explorer-layer")
    shown.keyboard.press("ArrowDown")
    assert f"In layer {explorer.READ + 1} " in shown.inner_text("#explorer-said")
    shown.focus("#explorer-table th:nth-child(8) button")
    shown.keyboard.press("Enter")
    rising = [float(text) for text in column(shown, 8)]
    assert rising == sorted(rising)
    assert shown.get_attribute("#explorer-table th:nth-child(8)", "aria-sort") == "ascending"
    shown.keyboard.press("Enter")
    assert [float(text) for text in column(shown, 8)] == rising[::-1]
    shown.focus("#explorer-search")
    shown.keyboard.type("gene0")
    names = shown.locator("#explorer-table tbody tr:not([hidden]) th").all_text_contents()
    assert names
    assert all(name.startswith("GENE0") for name in names)
    assert shown.inner_text("#explorer-count") == f"{len(names)} of 30 genes shown"
    shown.fill("#explorer-search", "")


def test_on_paper_the_default_stands_in_words_and_as_a_table(shown):
    pick(shown, regulator=1)
    shown.emulate_media(media="print")
    try:
        assert not shown.is_visible(".explorer-live")
        assert shown.is_visible("#explorer-default")
        assert "TF-1" in shown.inner_text("#explorer-default")
    finally:
        shown.emulate_media(media="screen")


def test_without_a_script_the_default_is_there(opened, address):
    plain = opened(address, java_script_enabled=False).page
    assert plain.is_visible("#explorer-default")
    assert plain.is_visible(".explorer-static .explorer-table")
    assert not plain.is_visible(".explorer-live")


def test_it_can_be_read_by_everybody(shown, axe):
    pick(shown, regulator=2)
    shown.evaluate(axe)
    ask = "rules => axe.run('#explorer', {resultTypes: ['violations'], ...rules}).then(found => found.violations)"
    for scheme, rules in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
        shown.emulate_media(color_scheme=scheme)
        found = shown.evaluate(ask, rules)
        assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found] == [], scheme


def test_nothing_was_asked_of_the_network_and_nothing_failed(wide, shown, address):
    for regulator in range(3):
        for reference in range(3):
            pick(shown, regulator, reference, layer=0, head=0)
    assert "Nothing to rank" in shown.inner_text("#explorer-said")
    assert wide.errors == []
    assert wide.requests == [address]


def test_a_narrow_screen_scrolls_inside_its_parts(opened, address):
    phone = opened(address, viewport={"width": 360, "height": 700})
    assert phone.sideways <= 0
    box = phone.page.locator("#explorer").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360
