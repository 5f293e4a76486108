from __future__ import annotations

import dataclasses

import pytest

from benchmarks.incremental import gain_ways


def test_the_plain_script_gives_the_same_gains_and_another_answer_is_refused():
    few = {"iterations": 3, "learning_rate": 0.15, "leaves": 4}
    ways = gain_ways(perturbations=10, genes=80, draws=20, plain=4, boosting=few)
    ours = ways.ours()
    ways.once()
    theirs = ways.theirs()
    # three splits, two learners, three metrics
    assert ways.agree(ours, theirs).startswith("18 gains")
    cell = ("joint", "boosting")
    wrong = {metric: values + (metric == "r_precision") * 1e-6 for metric, values in theirs[cell].items()}
    with pytest.raises(AssertionError, match=r"\('joint', 'boosting'\), r_precision"):
        ways.agree(ours, {**theirs, cell: wrong})


def test_what_is_done_once_counts_whole_beside_a_share_of_the_draws(monkeypatch):
    from benchmarks import paired

    spent = {"once": 3.0, "theirs": 0.5, "ours": 2.0}
    ways = paired.Ways(
        ours=lambda: "ours", theirs=lambda: "theirs", once=lambda: "once", agree=lambda *_: "", share=0.1
    )
    monkeypatch.setattr(paired, "processor_seconds", lambda work: spent[work()])
    assert paired._whole_seconds(ways, "ours") == 2.0
    assert paired._whole_seconds(ways, "theirs") == 8.0
    assert paired._whole_seconds(dataclasses.replace(ways, once=None), "theirs") == 5.0
