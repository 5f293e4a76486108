"""What a listing means: the pure difference, case by case."""

from __future__ import annotations

import pytest

from interp_assets.discovery.diff import Listed, changed_files, compare
from interp_assets.discovery.sources import seconds


def listed(place: str, release_id: str = "", **stated) -> Listed:
    return Listed(source="s", place=place, name=place, release_id=release_id, **stated)


@pytest.mark.parametrize(
    ("entries", "known", "places", "meanings"),
    [
        pytest.param([listed("a", "1")], {}, {}, ["new"], id="nothing-is-known"),
        pytest.param([listed("a", "1")], {"1": "mine"}, {}, ["unchanged"], id="added-by-hand"),
        pytest.param([listed("a", "1")], {"1": "mine"}, {"a": "1"}, ["unchanged"], id="same-place"),
        pytest.param([listed("b", "1")], {"1": "mine"}, {"a": "1"}, ["moved"], id="another-place"),
        pytest.param([listed("a", "2")], {"1": "mine"}, {"a": "1"}, ["new"], id="other-files-in-the-place"),
        pytest.param([listed("a", "1"), listed("b", "1")], {}, {}, ["new", "moved"], id="twice-in-one-listing"),
        pytest.param(
            [listed("a", "1"), listed("a", "2"), listed("a", "1")], {}, {}, ["new", "new", "unchanged"], id="and-back"
        ),
        pytest.param([listed("a", state="incoming", reason="w")], {}, {}, ["incoming"], id="incoming"),
        pytest.param([listed("a", "1", state="refused", reason="r")], {"1": "m"}, {}, ["refused"], id="refused"),
        pytest.param([listed("a"), listed("b")], {}, {}, ["new", "new"], id="ids-not-known-are-not-equal"),
        pytest.param([listed("a", "1"), listed("b", "2")], {"1": "m"}, {}, ["unchanged", "new"], id="one-of-two"),
    ],
)
def test_meanings(entries, known, places, meanings):
    findings = compare(entries, known, places)
    assert [finding.meaning for finding in findings] == meanings
    assert all(finding.reason for finding in findings)


def test_a_reason_names_the_release_and_the_place_before():
    (finding,) = compare([listed("b", "1")], {"1": "mine"}, {"a": "1"})
    assert finding.reason == "same files as release mine, before in a"
    assert finding.same_as == "mine"


def test_changed_files():
    assert changed_files({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "9"}) == ("b",)


@pytest.mark.parametrize(("text", "expected"), [("10s", 10), ("90 s", 90), ("10m", 600), ("1h", 3600), ("2d", 172800)])
def test_spans(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "10", "5s", "-1h", "1w", "1h30m", "999999d", "1.5h"])
def test_no_spans(text):
    with pytest.raises(ValueError, match="no span of time"):
        seconds(text)
