"""The cards: one an analysis, complete, and the page and the explanation made from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from interp_assets.analyses import cards, page
from interp_assets.analyses.cards import CardError, card
from interp_assets.analyses.catalogue import CATALOGUE, extended, row
from interp_assets.analyses.page import COMMAND, explanation

PROJECT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", [entry.card_name for entry in (*CATALOGUE, *extended())])
def test_every_analysis_has_a_complete_card(name):
    told = card(name)
    assert told.question.endswith("?")
    assert told.formula
    assert told.traps
    assert "section" in told.source


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"traps": None}, "missing or unknown keys: traps"),
        ({"colour": "red"}, "missing or unknown keys: colour"),
        ({"traps": []}, "`traps` is empty"),
        ({"question": 3}, "`question` must be a sentence"),
        ({"formula": "y = x"}, "`formula` must be a list of sentences"),
    ],
)
def test_an_incomplete_card_is_refused_by_file_and_key(change, said, tmp_path, monkeypatch):
    import yaml

    content = yaml.safe_load((cards.FOLDER / "16.yaml").read_text(encoding="utf-8")) | change
    content = {name: value for name, value in content.items() if value is not None}
    (tmp_path / "16.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    monkeypatch.setattr(cards, "FOLDER", tmp_path)
    with pytest.raises(CardError, match=r"16\.yaml") as caught:
        card.__wrapped__("16")
    assert said in str(caught.value)


def test_a_card_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(cards, "FOLDER", tmp_path)
    with pytest.raises(CardError, match=r"07\.yaml: cannot be read"):
        card.__wrapped__("07")


def test_the_page_is_the_one_that_the_cards_make():
    written = (PROJECT / "docs" / "analyses.md").read_text(encoding="utf-8")
    assert written == page.page(), f"run `{COMMAND}`"
    for entry in (*CATALOGUE, *extended()):
        assert f"## {entry.label}. {entry.title}" in written


def test_an_explanation_says_what_is_asked_how_and_what_is_disputed():
    told = explanation("16")
    for part in ("Question", "Method", "Null", "Formula", "Traps", "A16.2", "Source", row(16).title):
        assert part in told
    assert "PC06" in explanation("37")
    with pytest.raises(ValueError, match="no analysis 99"):
        explanation("99")
