"""What the report says the interventions showed: numbers of the tables, and nothing where none were run."""

import numpy as np
import pytest

from interp_assets.report import reading
from interp_assets.report.interventions import TABLES, interventions_said

PARTS = [{"name": "dose", "outcome": "pass", "reason": "monotone"}]


@pytest.fixture
def ablation(results):
    return {name: results.tables[name].copy() for name in TABLES}


def _verdict(outcome):
    outcomes = {"a": "pass", "b": "pass", "c": "pass", "d": outcome}
    described = {name: {"outcome": said, "reason": f"why {name}", "parts": PARTS} for name, said in outcomes.items()}
    return {"headline": {"state": "inconclusive", "data_origin": "real", "criteria": outcomes}, "criteria": described}


def _said(ablation, start):
    found = [sentence for sentence in interventions_said(ablation) if sentence.startswith(start)]
    assert len(found) == 1, found
    return found[0]


def _row(ablation, condition):
    frame = ablation["causal_ablation"]
    return frame[(frame["condition"] == condition) & (frame["read_out"] == "attention")].iloc[0]


def test_dose_response_reads_its_rows(ablation):
    rows = [_row(ablation, f"upstream-top-{dose}") for dose in (5, 10, 20, 50)]
    left = [f"{row['mean_auroc']:.3f}" for row in rows]
    text = _said(ablation, "Dose response")
    assert f"the clean model has a mean AUROC of {rows[0]['clean_auroc']:.3f}; masking the 1, 2, 4 and 10 top" in text
    assert f"leaves {', '.join(left[:3])} and {left[3]}; 20 random sets of 10 leave" in text
    assert f"(p {rows[-1]['p_random']:.3f})" in text
    frame = ablation["causal_ablation"]
    sets = frame[(frame["pool"] == "upstream") & (frame["family"] == "random") & (frame["dose"] == 50)]
    sets = sets.loc[sets["read_out"] == "attention", "mean_auroc"]
    assert f"{sets.min():.3f} to {sets.max():.3f}" in text


def test_missing_dose_response_and_missing_random_sets_are_said(ablation):
    frame = ablation["causal_ablation"]
    alone = frame[~((frame["pool"] == "upstream") & (frame["family"] == "random"))]
    assert "no random set of that size" in _said({**ablation, "causal_ablation": alone}, "Dose response")
    published = {name: part[part["pool"] == "all"] for name, part in ablation.items()}
    assert "none, because no set of heads before the read-out" in _said(published, "Dose response")


def test_other_interventions_leave_out_what_cannot_act(ablation):
    text = _said(ablation, "Other interventions")
    row = _row(ablation, "mlp-8")
    assert f"mlp-8 {row['delta']:+.3f} ({row['ci_low']:.3f} to {row['ci_high']:.3f})" in text
    assert "upstream-uniform-top-10 -0.060" in text
    assert "mlp-15" not in text
    assert "uniform-random-10/1" not in text  # one of its two heads lies behind


def test_structural_zeros_are_named(ablation):
    conditions = ablation["intervention_conditions"]
    idle = conditions.loc[conditions["upstream_parts"] == 0, "condition"]
    text = _said(ablation, f"{len(idle)} of 22 published interventions")
    assert text.endswith(f"{', '.join(idle)}.")
    assert {"layer-14", "mlp-15", "mlp-13-15"} <= set(idle)
    acting = {**ablation, "intervention_conditions": conditions.assign(upstream_parts=1)}
    assert not any("cannot act" in sentence for sentence in interventions_said(acting))


@pytest.mark.parametrize(("distance", "count"), [(0.019, 0), (0.02, 0), (0.021, 21)])
def test_weak_interventions_are_counted(distance, count, ablation):
    conditions = ablation["intervention_conditions"].assign(hidden_distance=distance)
    text = _said({**ablation, "intervention_conditions": conditions}, f"{count} of 21 interventions that can act")
    assert f"at most {distance:.3f}" in text
    same = conditions.assign(changed=False)
    _said({**ablation, "intervention_conditions": same}, "0 of 21 interventions that can act")
    unknown = conditions.assign(hidden_distance=np.nan)
    said = interventions_said({**ablation, "intervention_conditions": unknown})
    assert not any("cosine" in sentence for sentence in said)


@pytest.mark.parametrize("gone", TABLES)
def test_without_interventions_nothing_is_said(gone, ablation):
    assert interventions_said({name: frame for name, frame in ablation.items() if name != gone}) == ()
    assert interventions_said({**ablation, gone: ablation[gone].iloc[:0]}) == ()


def test_only_criterion_d_tells_the_interventions(ablation):
    views = {view.id: view for view in reading.criteria(_verdict("pass"), ablation)}
    assert views["d"].parts == ("dose: pass · monotone", *interventions_said(ablation))
    assert {views[name].parts for name in "abc"} == {("dose: pass · monotone",)}
    assert reading.criteria(_verdict("pass"))[3].parts == ("dose: pass · monotone",)
