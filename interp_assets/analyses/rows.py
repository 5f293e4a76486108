"""Result rows with their provenance filled in, once for every analysis.

What belongs here: turning the numbers an analysis computed into `TestResult` records, and the check that
an analysis emits exactly what was declared. What does not: any statistic.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, CellSample, Pooled, RoleInputs, Simulated
from interp_assets.edges.layers import resolve_layer
from interp_assets.readings.records import Reading
from qc_standards.records import Status, TestResult, TestSpec, skipped

Source = RoleInputs | CellSample | Pooled | Simulated


def canonical_json(settings: Mapping[str, Any]) -> str:
    """One text for one set of settings: sorted keys, no spaces, plain numbers; NaN is refused.

    >>> canonical_json({"b": 1, "a": (10, 50)})
    '{"a":[10,50],"b":1}'
    """
    return json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)


def settings_hash(text: str) -> str:
    """First 16 hexadecimal digits of the sha256 of a canonical settings text."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise ValueError(f"setting of type {type(value).__name__} cannot be recorded; use numbers, text or lists")


def chosen_settings(inputs: AnalysisInputs, *names: str) -> dict[str, Any]:
    """Values of the named study settings; a missing one is an error and never a default.

    Raises
    ------
    ValueError
        Naming the study and the absent keys.
    """
    absent = [name for name in names if name not in inputs.settings]
    if absent:
        raise ValueError(f"study {inputs.study}: settings lack {', '.join(absent)}; add them to the battery settings")
    return {name: inputs.settings[name] for name in names}


def analysis_layer(inputs: AnalysisInputs, role: RoleInputs) -> int:
    """Layer (0-based) every analysis of this study reads in this release, fixed before seeing outcomes."""
    depth = chosen_settings(inputs, "analysis_depth")["analysis_depth"]
    return resolve_layer(float(depth), role.attention.layers)


def generator(inputs: AnalysisInputs, number: int, *purpose: int) -> np.random.Generator:
    """Random generator of its own for one purpose of one analysis, from the evaluation's seed."""
    return np.random.default_rng([inputs.seed, number, *purpose])


def role_or_reason(inputs: AnalysisInputs, role: str) -> RoleInputs | str:
    """Data behind a role, or the reason why the study has none."""
    found = inputs.roles.get(role)
    if found is not None:
        return found
    return inputs.absent.get(role, f"study {inputs.study} fills no role {role}")


def sample_or_reason(inputs: AnalysisInputs, role: str) -> CellSample | str:
    """Cells behind a role, or the reason why the study has none."""
    found = inputs.samples.get(role)
    if found is not None:
        return found
    return inputs.absent.get(role, f"study {inputs.study} fills no role {role}")


def reading_or_reason(inputs: AnalysisInputs, name: str) -> Reading | str:
    """What was read from the model under a name, or the reason why it was not."""
    found = inputs.readings.get(name)
    if found is not None:
        return found
    return inputs.absent.get(name, f"{name} was not read from release {inputs.release}")


def row(
    inputs: AnalysisInputs,
    role: Source,
    test_id: str,
    *,
    settings: Mapping[str, Any],
    layer: int | None,
    reason: str = "",
    **numbers: Any,
) -> TestResult:
    """Result of a test that was run, provenance included.

    Parameters
    ----------
    settings
        The settings this row really used; stored as canonical JSON with its hash.
    layer
        Analysis layer (0-based) of the evaluation.
    reason
        Why a number is missing, where one is.
    numbers
        Further fields of `TestResult`. Numpy scalars become plain ones. A number that is not finite is
        left out, and the row's reason names it: a missing value stays visible and never becomes 0.
        ``effect_kind`` and ``unit`` default to the declared ones.
    """
    spec = declared(inputs, test_id)
    values = {"effect_kind": spec.effect_kind, "unit": spec.resampling_unit}
    values.update({name: _plain_number(value) for name, value in numbers.items()})
    unfinished = sorted(k for k, v in values.items() if isinstance(v, float) and not math.isfinite(v))
    for name in unfinished:
        values[name] = None
    if unfinished and not reason:
        reason = f"{', '.join(unfinished)} could not be computed from these data"
    text = canonical_json(settings)
    facts = _provenance(inputs, role)
    if isinstance(role, Simulated):
        facts["cells_hash"] = hashlib.sha256(f"simulated {inputs.seed} {text}".encode()).hexdigest()
    return TestResult(
        test_id=test_id,
        status=Status.RUN,
        reason=reason,
        settings_used=text,
        settings_hash=settings_hash(text),
        layer=None if layer is None else int(layer),
        **facts,
        **values,
    )


def skip(
    inputs: AnalysisInputs,
    test_id: str,
    reason: str,
    *,
    role: Source | None = None,
    settings: Mapping[str, Any] | None = None,
    layer: int | None = None,
) -> TestResult:
    """Row of a declared test that could not be run: the reason, what is known of its data, no number."""
    spec = declared(inputs, test_id)
    facts: dict[str, Any] = {"release": inputs.release, "seed": inputs.seed}
    if role is not None:
        facts = _provenance(inputs, role)
    text = canonical_json(settings or {})
    return skipped(
        test_id,
        reason,
        effect_kind=spec.effect_kind,
        unit=spec.resampling_unit,
        settings_used=text,
        settings_hash=settings_hash(text),
        layer=layer,
        **facts,
    )


def skip_all(inputs: AnalysisInputs, reason: str, *, role: Source | None = None) -> AnalysisOutput:
    """Output of an analysis that has no input at all: every declared row skipped, no table."""
    return AnalysisOutput(results=tuple(skip(inputs, spec.test_id, reason, role=role) for spec in inputs.tests))


def collect(
    inputs: AnalysisInputs, results: Iterable[TestResult], tables: Mapping[str, pd.DataFrame] | None = None
) -> AnalysisOutput:
    """Output holding exactly the declared rows, in declared order.

    Raises
    ------
    ValueError
        If a result is emitted twice, was never declared, or a declared test has none.
    """
    emitted = list(results)
    ids = [result.test_id for result in emitted]
    wanted = [spec.test_id for spec in inputs.tests]
    if sorted(ids) != sorted(wanted):
        raise ValueError(f"declared tests are {', '.join(wanted)} but the analysis emitted {', '.join(ids)}")
    by_id = dict(zip(ids, emitted, strict=True))
    return AnalysisOutput(results=tuple(by_id[test_id] for test_id in wanted), tables=dict(tables or {}))


def declared(inputs: AnalysisInputs, test_id: str) -> TestSpec:
    """Declaration of a test.

    Raises
    ------
    ValueError
        If this analysis was not asked for it: code may not emit an undeclared test.
    """
    for spec in inputs.tests:
        if spec.test_id == test_id:
            return spec
    raise ValueError(f"{test_id} is not among the declared tests of this analysis")


def _provenance(inputs: AnalysisInputs, role: Source) -> dict[str, Any]:
    return {
        "dataset": role.dataset,
        "data_origin": str(role.data_origin),
        "role_fit": role.role_fit,
        "release": inputs.release,
        "cells_hash": role.cells_hash,
        "seed": inputs.seed,
    }


def _plain_number(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
