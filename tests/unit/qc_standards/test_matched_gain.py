"""The criterion behind published claim 14: what an edge adds on matched pairs."""

import numpy as np
import pytest

from qc_standards.claims import claims_registry
from qc_standards.criteria import judge_criterion
from qc_standards.evidence import Evidence
from qc_standards.records import Outcome

P, F, U, N = Outcome.PASS, Outcome.FAIL, Outcome.UNDECIDED, Outcome.NOT_EVALUABLE


def judge(evaluation):
    evidence = Evidence(tests=evaluation.tests, tables=evaluation.tables)
    return judge_criterion(evidence, claims_registry().criteria["matched_gain_null"])


AUROC = {"edge": "attention", "metric": "auroc"}
AUPRC = {"edge": "attention", "metric": "auprc"}


class TestMatchedGain:
    @pytest.mark.parametrize(
        ("where", "values", "outcome"),
        [
            (AUROC, {}, P),
            (AUROC, {"p_equivalent": 0.2, "equivalent": False, "ci_high": 0.008}, U),
            (AUROC, {"p_equivalent": 0.9, "equivalent": False, "ci_low": 0.006, "ci_high": 0.02}, F),
            (AUROC, {"p_equivalent": 0.9, "equivalent": False, "ci_low": -0.02, "ci_high": -0.006}, U),
            (AUROC, {"p_equivalent": np.nan}, N),
            (AUROC, {"equivalent": False}, N),
            (AUROC, {"equivalent": None}, N),
            (AUROC, {"margin": 0.02}, N),
            (AUROC, {"margin": 0.0}, N),
            (AUROC, {"resamples_done": 150}, N),
            (AUROC, {"ci_low": np.nan}, N),
            (AUROC, {"balanced": False}, N),
            (AUROC, {"balanced": None}, N),
            (AUROC, {"balanced": False, "ci_low": 0.006, "ci_high": 0.02}, N),
            (AUPRC, {"balanced": False}, N),
            (AUPRC, {"p_equivalent": 0.2, "equivalent": False, "ci_high": 0.01}, P),
            (AUPRC, {"p_equivalent": 0.9, "equivalent": False, "ci_low": 0.006, "ci_high": 0.02}, U),
            (AUPRC, {"delta": np.nan}, N),
            (AUPRC, {"resamples_done": 0}, N),
            ({"edge": "correlation"}, {"ci_low": 0.1, "p_equivalent": np.nan}, P),
        ],
    )
    def test_table(self, make_release, where, values, outcome):
        release = make_release(gain=0.0).set("matched_value", where, **values)
        assert judge(release).outcome is outcome

    def test_a_gain_on_matched_pairs_fails(self, make_release):
        result = judge(make_release())
        assert result.outcome is F
        assert "matched pairs" in result.reason

    def test_an_auprc_that_is_not_reported_is_not_evaluable(self, make_release):
        release = make_release(gain=0.0)
        release.tables["matched_value"] = release.tables["matched_value"].query("metric == 'auroc'")
        assert judge(release).outcome is N

    def test_controls_do_not_run_it_and_say_so(self, planted):
        result = judge(planted)
        assert result.outcome is N
        assert "controls run only the rows that claims need" in result.reason
