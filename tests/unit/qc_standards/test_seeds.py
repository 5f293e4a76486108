"""Seeds behind a verdict: what table `stability` shows, and one wherever it shows nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from qc_standards.evidence import Evidence
from qc_standards.seeds import Seeds, seed_notes, seeds_behind

LINE = {"mean": 0.7, "sd": 0.01, "lowest": 0.69, "highest": 0.71, "rank_agreement": 0.9, "top_overlap": 0.8}


def table(*rows: dict[str, object]) -> pd.DataFrame:
    shared = {"criterion": "a", "varied": "seed", "repeats": 10, "readings": 1, **LINE}
    return pd.DataFrame([{"quantity": f"number {at}", **shared, **row} for at, row in enumerate(rows)])


def behind(frame: pd.DataFrame | None, *criteria: str) -> Seeds:
    tables = {} if frame is None else {"stability": frame}
    return seeds_behind(Evidence(tests=pd.DataFrame(), tables=tables), criteria)


def test_the_number_with_the_fewest_repeats_counts():
    frame = table({}, {"criterion": "c", "repeats": 4}, {"criterion": "none", "repeats": 2})
    assert behind(frame, "a").count == 10
    assert behind(frame, "c").count == 4
    assert behind(frame, "a", "c") == Seeds(count=4, reason="", single=())


def test_a_criterion_that_was_read_once_leaves_one_seed():
    frame = table({}, {"criterion": "c", "repeats": 4})
    found = behind(frame, "a", "b", "c", "d")
    assert found == Seeds(count=1, reason="criteria b, d read with one seed", single=("b", "d"))
    changing = behind(table({"readings": 2}), "a", "d")
    assert changing.reason == "number 0: its reading changes; criterion d read with one seed"


def test_draws_of_cells_are_no_seeds():
    frame = table({"varied": "cell_draw", "repeats": 50})
    assert behind(frame, "a") == Seeds(count=1, reason="no number behind criterion a was repeated", single=("a",))


def test_one_number_may_belong_to_several_criteria():
    frame = table({"criterion": "a; baselines_win"})
    assert behind(frame, "baselines_win").count == behind(frame, "a").count == 10
    assert behind(frame, "baselines").count == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"readings": 2}, "its reading changes"),
        ({"repeats": np.nan}, "missing"),
        ({"repeats": 3.5}, "missing"),
        ({"repeats": "many"}, "missing"),
        ({"repeats": np.inf}, "missing"),
        ({"readings": None}, "missing"),
    ],
)
def test_a_number_that_cannot_be_counted_leaves_one_seed(change, reason):
    found = behind(table(change, {}), "a")
    assert found.count == 1
    assert reason in found.reason
    assert found.reason.startswith("number 0")


def test_no_table_no_column_and_no_row_leave_one_seed():
    assert behind(None, "a") == Seeds(count=1, reason="table stability is absent", single=("a",))
    assert "lacks column criterion" in behind(table({}).drop(columns="criterion"), "a").reason
    assert behind(table({}).iloc[:0], "a").count == 1
    assert behind(table({"criterion": np.nan}), "a").count == 1


def test_notes_say_how_many_what_varies_and_what_was_never_repeated():
    few = seed_notes(behind(None, "a"), 3)
    assert len(few) == 1
    assert few[0].startswith(
        "provisional: 1 seed(s), 3 are needed (table stability is absent); a seed varies the cells"
    )
    assert "releases trained with other seeds are releases of their own" in few[0]
    assert seed_notes(behind(table({}), "a"), 3) == ()
    part = seed_notes(behind(table({}), "a", "d"), 3)
    assert part[0].startswith("provisional: 1 seed(s), 3 are needed (criterion d read with one seed)")


def test_removing_a_row_never_adds_a_seed():
    frame = table({}, {"criterion": "c", "repeats": 4}, {"criterion": "a;c", "repeats": 2})
    for criteria in (("a",), ("c",)):
        whole = behind(frame, *criteria).count
        assert behind(frame[~frame["criterion"].str.contains(criteria[0])], *criteria).count == 1 <= whole
