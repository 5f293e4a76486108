"""Timelines, dots and twins of the index in a real browser: quiet, readable everywhere, told alike in every form."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from interp_assets.report.claims_board import claim_rows, claims_board
from interp_assets.report.index import leaderboard, leaderboard_row, render_index
from interp_assets.report.timelines import JUDGEMENT_COLUMNS
from qc_standards.documents import claims_document

WIDE, PHONE, PAPER = {"width": 1280, "height": 900}, {"width": 360, "height": 740}, {"width": 718, "height": 1000}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
EVIL = "<img src=x onerror=\"document.title='taken'\">"
STATES = ("refuted", "inconclusive", "not evaluable", "supported")
OPEN = "document.querySelectorAll('details').forEach(details => { details.open = true; })"


@pytest.fixture(scope="module")
def index(example, results, tmp_path_factory):
    claims = json.loads(json.dumps(claims_document(example.example_judgement())))
    documents = {"claims": claims, "verdict": {**results.verdict, "release_kind": "release"}}
    names = (EVIL, "r" * 200, "steady", "steady.shuffled")
    rows = [leaderboard_row("demo", name, results.verdict, results.standards, results.tables) for name in names]
    judged = [
        {
            **{"study": "demo", "release": name, "place": place, "snapshot": f"{name}{place}", "state": state},
            **{"label": f"{state}, place {place}", "data_origin": "semi_synthetic"},
            **{f"criterion_{letter}": "undecided" for letter in "abcd"},
        }
        for name in names[:3]
        for place, state in enumerate(STATES[: 1 if name == "steady" else 4] * (4 if name == EVIL else 1), 1)
    ]
    changes = pd.DataFrame(
        [{"study": "demo", "level": "verdict", "direction": "lost", "sentence": EVIL, "reading": EVIL}]
    ).assign(new_snapshot=f"{EVIL}16")
    board = claims_board(row for name in names for row in claim_rows("demo", name, documents, results.tables))
    page = render_index(
        leaderboard(rows), board, changes, {EVIL: EVIL}, pd.DataFrame(judged, columns=list(JUDGEMENT_COLUMNS))
    )
    file = tmp_path_factory.mktemp("index") / "index.html"
    file.write_text(page, encoding="utf-8")
    return file.as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("window", [WIDE, PHONE], ids=["wide", "phone"])
def test_it_is_quiet_accessible_and_fits(opened, index, axe, window, scheme) -> None:
    found = opened(index, viewport=window, color_scheme=scheme)
    found.page.evaluate(OPEN)
    assert found.sideways == 0
    assert (found.errors, found.requests) == ([], [index])
    assert found.page.title() == "Evaluated releases"
    found.page.evaluate(axe)
    options = {"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]}
    violations = found.page.evaluate("options => axe.run(document, options)", options)["violations"]
    assert [(rule["id"], rule["nodes"][0]["html"][:160]) for rule in violations] == []


def test_picture_and_table_tell_the_same(opened, index) -> None:
    page = opened(index, viewport=WIDE).page
    page.evaluate(OPEN)
    told = page.locator(".timeline svg title").evaluate_all("all => all.map(one => one.textContent)")
    rows = page.locator(".timeline-table tbody tr:has(th)").evaluate_all(
        "all => all.map(row => [row.cells[1].textContent, row.cells[2].textContent].map(text => text.trim()))"
    )
    assert len(told) == len(rows) > 12
    for words, (place, verdict) in zip(told, rows, strict=True):
        assert f"judgement {place.split()[0]}: {verdict};" in words
    inside = page.locator(".timeline svg").evaluate(
        "svg => { const frame = svg.getBoundingClientRect(); return [...svg.querySelectorAll('text, .mark')].every("
        "one => { const box = one.getBoundingClientRect();"
        " return box.left >= frame.left - 1 && box.right <= frame.right + 1 }) }"
    )
    assert inside


def test_paper_shows_what_the_screen_folds(opened, index) -> None:
    found = opened(index, viewport=PAPER)
    found.page.emulate_media(media="print")
    assert found.sideways == 0
    height = "all => all.every(one => one.getBoundingClientRect().height > 20)"
    assert found.page.locator(".twins table, .timeline-table table, .timeline svg").evaluate_all(height)
