"""The page says what the numbers say, and says it differently when they differ."""

from __future__ import annotations

import numpy as np
import pytest

from interp_assets.calibration import summary
from interp_assets.calibration.catalogue import NOISE, OFF_NETWORK, STRENGTHS, UNREAD
from interp_assets.calibration.design import TINY
from interp_assets.calibration.findings import findings
from interp_assets.calibration.page import page_text
from interp_assets.calibration.pictures import FIGURES, drawn

SEEDS = 100
FACTS = {
    **{f"auroc__{name}": 0.7 for name in ("attention", "variance", "mean", "one_minus_dropout", "correlation")},
    "perturbations": 40.0,
    "positives_with_edge": 0.96,
}


@pytest.fixture
def whole(results):
    """A run in which nothing passes on noise, every null is uniform and a planted network passes from strength 2 on."""
    rng = np.random.default_rng(0)
    for world in NOISE:
        results.fact(world.name, **FACTS)
        for criterion in world.criteria:
            results.criterion(world.name, criterion, ["fail"] * SEEDS)
        for test in world.nulls:
            results.test(world.name, test, rng.permutation((np.arange(SEEDS) + 0.5) / SEEDS))
        results.part(world.name, "a/mean", ["fail"] * SEEDS, [-0.1] * SEEDS)
        if "c" in world.criteria:
            results.part(world.name, "b/joint/logistic/auroc", ["fail"] * SEEDS, [-0.01] * SEEDS)
            results.part(world.name, "c/degree", ["fail"] * SEEDS, [0.1] * SEEDS)
    for share in (0.02, *OFF_NETWORK):
        for strength in STRENGTHS if share == 0.02 else (4.0,):
            name = f"planted {strength:g} off {share:g}"
            results.fact(name, **FACTS)
            for criterion in "abc":
                passing = strength >= 2 and (criterion != "a" or share < 0.2)
                results.criterion(name, criterion, ["pass" if passing else "fail"] * SEEDS)
    return results


def told(results) -> str:
    frame = results.frame
    return "\n".join(findings(summary.false_passes(frame), summary.levels_of_tests(frame), summary.power(frame)))


def test_a_calibrated_assay_is_told_as_one(whole):
    text = told(whole)
    assert text.count("no false pass, upper limit 3.0 %") == 5
    assert "0 lie above it and 0 below it" in text
    assert "Rejected too" not in text
    assert "not uniform" not in text


def test_power_is_told_with_the_strength_where_it_arrives(whole):
    text = told(whole)
    assert "a 1.89; b 1.89; c 1.89; all three 1.89" in text
    assert "Criterion a falls to power 0.0 % where 20% of effects lie off the network" in text
    assert "Criterion b keeps power 100.0 % with 35% of effects off the network" in text


def test_a_false_pass_is_named_with_its_world_and_limit(whole):
    for line, entry in enumerate(whole.lines):
        if entry[:4] == ("coexpression", 7, "criterion", "c"):
            whole.lines[line] = (*entry[:4], "pass", *entry[5:])
    text = told(whole)
    assert "**Criterion c** on planted outcomes: false passes in co-expression 1 of 100 (1.0 %, upper limit 4.7 %)" in (
        text
    )
    assert "none in the other 4 worlds" in text
    assert "**The three criteria together** on planted outcomes: no false pass" in text


@pytest.mark.parametrize(
    ("power_of", "words"), [(4.0, "Rejected too often: A16.2 in gene confound"), (0.1, "Rejected too seldom: A16.2")]
)
def test_a_wrong_level_is_named(whole, power_of, words):
    changed = [
        (*entry[:5], float(entry[5]) ** power_of, entry[6])
        if entry[0] == "confound_only" and entry[3] == "A16.2"
        else entry
        for entry in whole.lines
    ]
    whole.lines = changed
    assert words in told(whole)


def test_a_test_of_few_seeds_is_not_called_calibrated(whole):
    whole.test("pure/matched", "A35.1", np.linspace(0.1, 0.9, 9))
    text = told(whole)
    assert "Not judged for want of seeds (at least 72 are needed): A35.1, 9 seeds." in text
    whole.test("confound_only/matched", "A35.1", np.zeros(9))
    assert "Rejected too often: A35.1" in told(whole)


def test_the_page_says_where_a_null_is_not_true(whole):
    frame = whole.frame
    text = page_text(frame, TINY.as_mapping(), {"noise": SEEDS}, {"images/one.svg": "words"}, "tiny-0")
    (row,) = [line for line in text.splitlines() if line.startswith("| A19.2 | 5.0 %")]
    assert row.split(" | ")[2] == "not a null"
    for test in UNREAD:
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {test} | not a null")]
        assert line.count("5.0 %") == 1
    assert "semi-synthetic" in text
    assert "![words](images/one.svg)" in text
    assert "A35.1" in text.split("have no such world yet")[1]


@pytest.mark.parametrize("name", FIGURES)
def test_figures_carry_their_words_and_origin_and_are_the_same_twice(whole, name):
    frame = whole.frame
    frame = frame[(frame["world"] == "pure") | frame["world"].str.startswith("planted")]
    svg, title = drawn(name, frame)
    assert svg == drawn(name, frame)[0]
    assert title in svg.decode()
    assert "semi-synthetic" in svg.decode()
