"""Analysis 36: how far each intervention moved the network.

What belongs here: the rows and the table of intervention fidelity. What does not: running a model. A large distance
after the read-out is no evidence that the read-out could have moved; ``intervention_conditions`` says which parts lie
before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from interp_assets.analyses.ablation import interventions_or_reason, same_as, used_settings
from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, RoleInputs
from interp_assets.analyses.rows import analysis_layer, collect, role_or_reason, row, skip, skip_all
from interp_assets.interventions.records import Interventions
from qc_standards.records import TestResult

CONDITIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "A36.1": "uniform-top-5",
        "A36.2": "uniform-top-10",
        "A36.3": "uniform-random-10/1",
        "A36.4": "mlp-15",
        "A36.5": "mlp-13-15",
        "A36.6": "mlp-8",
    }
)


def intervention_fidelity(inputs: AnalysisInputs) -> AnalysisOutput:
    """Largest mean cosine distance of hidden states over the layers, with an interval over cells; logits beside it.

    Mean over real tokens of 1 - cos(clean, changed) after every block from the first change on; padding counts
    nothing (paper section 4, analysis 36). The statistic of a row is the distance of the logits. Table
    ``intervention_fidelity`` covers every condition, the head masks of analyses 29 and 32 included.
    """
    found = interventions_or_reason(inputs)
    if isinstance(found, str):
        role = role_or_reason(inputs, "primary_screen")
        return skip_all(inputs, found, role=None if isinstance(role, str) else role)
    role, record = found
    results = [_row(inputs, role, record, spec.test_id) for spec in inputs.tests]
    table = record.fidelity.assign(role=role.role, dataset=role.dataset)
    return collect(inputs, results, {"intervention_fidelity": table})


def _row(inputs: AnalysisInputs, role: RoleInputs, record: Interventions, test_id: str) -> TestResult:
    name = CONDITIONS[test_id]
    condition = record.conditions.set_index("condition").loc[name]
    used = used_settings(inputs, record, condition)
    layer = analysis_layer(inputs, role)
    earlier = same_as(test_id, CONDITIONS, record)
    if earlier:
        return skip(inputs, test_id, f"same as {earlier}", role=role, settings=used, layer=layer)
    own = record.fidelity[record.fidelity["condition"] == name]
    hidden = own[own["state"] == "hidden"]
    largest = hidden.loc[hidden["distance"].idxmax()]
    logits = own.loc[own["state"] == "logits", "distance"]
    beside = "the release predicts no tokens" if logits.empty else "the statistic is the distance of the logits"
    return row(
        inputs,
        role,
        test_id,
        settings=used,
        layer=layer,
        statistic=None if logits.empty else float(logits.iloc[0]),
        effect=float(largest["distance"]),
        ci_low=float(largest["ci_low"]),
        ci_high=float(largest["ci_high"]),
        n=int(largest["cells"]),
        unit="cell",
        null_name="clean model, same cells",
        null_mean=0.0,
        resamples_requested=int(largest["resamples_requested"]),
        resamples_done=int(largest["resamples_done"]),
        direction=f"hidden states after layer {int(largest['layer'])}; {beside}",
    )
