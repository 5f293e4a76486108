"""Two evaluations of one release at once on one store: both end, and with the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from interp_assets.models.attention.store import open_attention
from tests.faults.tiny_store import at_once, content_of, evaluate, extract, forget


def test_two_evaluations_at_once_end_with_the_same_bytes(finished, broken, whole, tally, soak) -> None:
    expected = content_of(Path(finished["INTERP_STORE"]))
    rng = np.random.default_rng(31)
    for _ in range(soak):
        deployed = broken()
        store = Path(deployed["INTERP_STORE"])
        forget(store, rng)
        assert at_once(dict.fromkeys(("one", "other"), (deployed, whole)), evaluate) == [0, 0]
        assert content_of(store) == expected
        assert evaluate(deployed, whole) == []
        tally("fault", "two evaluations of one release at once")


def test_two_processes_that_extract_into_one_folder_end_with_the_same_bytes(finished, tmp_path, tally, soak) -> None:
    extract(finished, tmp_path / "whole", False)
    for attempt in range(soak):
        folder = tmp_path / str(attempt)
        assert at_once(dict.fromkeys(("one", "other"), (finished, folder, False)), extract) == [0, 0]
        open_attention(folder, verify=True)
        assert content_of(folder) == content_of(tmp_path / "whole")
        tally("fault", "two processes extract the same attention at once")
