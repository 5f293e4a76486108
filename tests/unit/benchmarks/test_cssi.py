from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cssi import scan_ways


def test_draw_by_draw_gives_the_scan_and_another_answer_is_refused():
    ways = scan_ways(cells=240, strata=(2, 5), draws=3, plain=2)
    ours, theirs = ways.ours(), ways.theirs()
    # two numbers of strata, three kinds, three aggregators, two measures of two draws
    assert ways.agree(ours, theirs).startswith("72 values of AUROC and F1")
    assert all(values.shape == (3,) for pair in ours.values() for values in pair)
    last = (5, "gene_permuted", "scenic")
    auroc, f1 = ours[last]
    with pytest.raises(AssertionError, match="gene_permuted"):
        ways.agree({**ours, last: (auroc + 1e-6, f1)}, theirs)
    with pytest.raises(AssertionError, match="differ by nan"):
        ways.agree({**ours, last: (auroc, np.full(3, np.nan))}, theirs)
