"""Analysis E3: what regulators have in common whose targets attention finds.

One AUROC a regulator, its class and its properties. Most regulators have one or two targets, whose AUROC is close to
a random number: a table by number of targets says so before any class is compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, RoleInputs
from interp_assets.analyses.per_regulator import regulator_recovery
from interp_assets.analyses.regulator_classes import (
    HOUSEKEEPING,
    LINEAGE,
    MASTER,
    SIGNAL,
    UNCLASSIFIED,
    regulator_classes,
)
from interp_assets.analyses.rows import (
    analysis_layer,
    chosen_settings,
    collect,
    generator,
    role_or_reason,
    row,
    skip,
    skip_all,
)
from interp_assets.analyses.scores import ReferencePairs, edge_scores, pairs_or_reason, reference_scores
from interp_assets.edges.records import Reference
from interp_assets.stats.class_contrast import ClassContrast, chance_sd, class_contrast
from interp_assets.stats.exact_spearman import FEWEST, SpearmanTest, spearman_test
from interp_assets.stats.recovery import spearman_draws
from interp_assets.stats.resampling import bootstrap_mean, percentile_interval
from qc_standards.records import TestResult

NUMBER: Final = 103  # keeps the draws apart from those of analysis 3
ALL: Final = 1
SEVERAL: Final = 3  # targets, for the class comparison that leaves the noisiest regulators out
CONTRASTS: Final[Mapping[str, tuple[str, int]]] = {
    "E3.1": (MASTER, ALL),
    "E3.2": (MASTER, SEVERAL),
    "E3.8": (SIGNAL, ALL),
    "E3.9": (LINEAGE, ALL),
    "E3.10": (HOUSEKEEPING, ALL),
}
PROPERTIES: Final[Mapping[str, str]] = {
    "E3.3": "mean_expression",
    "E3.4": "variance",
    "E3.5": "detected_share",
    "E3.6": "regulon_size",
    "E3.7": "n_targets",
    "E3.11": "activator_share",
}
# Classes of regulators by number of targets: name -> fewest and most.
BINS: Final[Mapping[str, tuple[int, float]]] = {
    "1": (1, 1),
    "2": (2, 2),
    "3-5": (3, 5),
    "6-10": (6, 10),
    ">10": (11, np.inf),
}
WHY_NO_PROPERTY: Final[Mapping[str, str]] = {
    "regulon_size": "the stored reference does not say how many targets a regulator has in the whole file",
    "activator_share": "the reference states no direction for the targets of the others",
}


def regulator_characterisation(inputs: AnalysisInputs) -> AnalysisOutput:
    """AUROC of attention for each regulator of the primary reference, against its class and its properties.

    Regulators have at least one target and one other candidate among the evaluable genes; candidates, AUROC, interval
    and exact p are those of analysis 18. Classes are those of `regulator_classes`, compared with all other regulators
    by ``regulator_permutations`` exchanges of the labels, once also among regulators with three or more targets.
    Properties are compared by Spearman correlation over regulators. Rows without a member of the class, or without the
    property, are skipped with the reason.

    Tables ``regulator_characterisation`` (one row a regulator) and ``regulator_by_targets``.
    """
    role = role_or_reason(inputs, "primary_screen")
    if isinstance(role, str):
        return skip_all(inputs, role)
    pairs = pairs_or_reason(role)
    if isinstance(pairs, str):
        return skip_all(inputs, pairs, role=role)
    table = regulator_table(inputs, role, pairs)
    if table.empty:
        return skip_all(inputs, f"no regulator of {pairs.name} has a target and another candidate", role=role)
    tables = {"regulator_characterisation": table, "regulator_by_targets": by_targets(inputs, table)}
    results = [
        _contrast_row(inputs, role, table, spec.test_id)
        if spec.test_id in CONTRASTS
        else _property_row(inputs, role, table, spec.test_id)
        for spec in inputs.tests
    ]
    return collect(inputs, results, tables)


def regulator_table(inputs: AnalysisInputs, role: RoleInputs, pairs: ReferencePairs) -> pd.DataFrame:
    """One row a regulator: class, AUROC with what chance gives it, and its properties; NaN where one is not known.

    ``detected_share`` is the share of control cells with a count, ``regulon_size`` the number of targets in the whole
    file of the reference, ``activator_share`` the share of activations among its evaluable targets of known direction
    (a target listed both ways counts once on each side, ``n_directed`` counts sides).
    """
    layer = analysis_layer(inputs, role)
    found = regulator_recovery(inputs, role, pairs, "attention", layer)
    scores = reference_scores(pairs, edge_scores(role, "attention", layer).score)
    classes, reference = regulator_classes(), role.references[pairs.name]
    sizes = reference.facts.get("regulon_sizes", {})
    sides = _sides(reference, role.genes.size)
    rows = []
    for place, (own, name, one) in enumerate(zip(pairs.regulators, found.regulators, found.recoveries, strict=True)):
        if one.method == "no contrast":
            continue
        features = role.features.iloc[int(own)]
        up, known = sides[:, own]
        rows.append(
            {
                "role": role.role,
                "dataset": role.dataset,
                "reference": pairs.name,
                "layer": layer,
                "regulator": str(name),
                "class": classes.of_gene.get(str(name), UNCLASSIFIED),
                "class_source": classes.source.get(str(name), ""),
                "n_targets": one.n_targets,
                "n_candidates": one.n_candidates,
                "auroc": one.auroc,
                "ci_low": one.interval.low,
                "ci_high": one.interval.high,
                "p_exact": one.p_exact,
                "chance_sd": chance_sd(np.delete(scores[place], own), one.n_targets),
                "mean_expression": float(features["mean"]),
                "variance": float(features["variance"]),
                "detected_share": 1.0 - float(features["dropout"]),
                "regulon_size": float(sizes[str(name)]) if str(name) in sizes else np.nan,
                "activator_share": up / known if known else np.nan,
                "n_directed": int(known),
                "missing_share": found.filled_share,
            }
        )
    return pd.DataFrame(rows)


def _sides(reference: Reference, genes: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Activations, and activations plus repressions, listed for every gene as a regulator (2 x G)."""
    if reference.direction is None:
        return np.zeros((2, genes))
    activates, represses = (np.isin(reference.direction, codes) for codes in ((1, 2), (-1, 2)))
    counts = [np.bincount(reference.source, side.astype(np.float64), genes) for side in (activates, represses)]
    return np.stack([counts[0], counts[0] + counts[1]])


def by_targets(inputs: AnalysisInputs, table: pd.DataFrame) -> pd.DataFrame:
    """One row a class of numbers of targets: mean AUROC over regulators, and its spread beside that of chance.

    ``chance_sd`` is the root mean square of the regulators' own (`stats.class_contrast.chance_sd`): an ``sd_auroc`` as
    large says that AUROCs of that class differ no more than those of random targets. The interval resamples
    regulators; a class of one has none.
    """
    resamples = int(chosen_settings(inputs, "bootstrap")["bootstrap"])
    rows = []
    for place, (name, (fewest, most)) in enumerate(BINS.items()):
        part = table[(table["n_targets"] >= fewest) & (table["n_targets"] <= most)]
        values = part["auroc"].to_numpy(np.float64)
        several = values.size > 1
        interval = bootstrap_mean(values, generator(inputs, NUMBER, 1, place), resamples) if several else None
        rows.append(
            {
                "targets": name,
                "regulators": values.size,
                "master_regulators": int((part["class"] == MASTER).sum()),
                "mean_auroc": values.mean() if values.size else np.nan,
                "ci_low": interval.low if interval else np.nan,
                "ci_high": interval.high if interval else np.nan,
                "sd_auroc": values.std(ddof=1) if several else np.nan,
                "chance_sd": float(np.sqrt((part["chance_sd"] ** 2).mean())) if values.size else np.nan,
                "resamples_requested": interval.resamples_requested if interval else 0,
                "resamples_done": interval.resamples_done if interval else 0,
            }
        )
    return pd.DataFrame(rows)


def _settings(inputs: AnalysisInputs, table: pd.DataFrame, *names: str) -> dict[str, Any]:
    used = chosen_settings(inputs, "analysis_depth", "bootstrap", *names)
    facts = {"reference": str(table["reference"].iloc[0]), "missing_share": float(table["missing_share"].iloc[0])}
    one_target = float((table["n_targets"] == 1).mean())
    return used | facts | {"missing_rule": "lowest", "one_target_share": one_target, "regulators": len(table)}


def _contrast_row(inputs: AnalysisInputs, role: RoleInputs, table: pd.DataFrame, test_id: str) -> TestResult:
    name, fewest = CONTRASTS[test_id]
    layer = analysis_layer(inputs, role)
    part = table[table["n_targets"] >= fewest]
    member = (part["class"] == name).to_numpy()
    used = _settings(inputs, part if len(part) else table, "regulator_permutations")
    used |= {"class": name, "classes": regulator_classes().sha256, "fewest_targets": fewest}
    if not member.any() or member.all():
        word = name.replace("_", " ")
        among = f"{len(part)} evaluable regulators of {used['reference']} with {fewest} or more targets"
        told = f"is a {word} by the list of classes" if not member.any() else f"is anything but a {word}"
        return skip(inputs, test_id, f"none of the {among} {told}", role=role, settings=used, layer=layer)
    place = list(CONTRASTS).index(test_id)
    found = class_contrast(
        part["auroc"], member, generator(inputs, NUMBER, 2, place), used["regulator_permutations"], used["bootstrap"]
    )
    return _contrast_result(inputs, role, test_id, found, used, layer)


def _contrast_result(
    inputs: AnalysisInputs, role: RoleInputs, test_id: str, found: ClassContrast, used: dict[str, Any], layer: int
) -> TestResult:
    sds = {"sd": found.sd, "sd_others": found.sd_others}
    used |= {key: value if np.isfinite(value) else None for key, value in sds.items()}
    used |= {
        "mean": found.mean,
        "mean_others": found.mean_others,
        "n_class": found.n,
        "n_others": found.n_others,
        "smallest_attainable_p": found.smallest_p,
    }
    bounded = found.interval.resamples_done > 0
    return row(
        inputs,
        role,
        test_id,
        settings=used,
        layer=layer,
        statistic=found.difference,
        effect=found.difference,
        ci_low=found.interval.low if bounded else None,
        ci_high=found.interval.high if bounded else None,
        p=found.p,
        n=found.n + found.n_others,
        unit="regulator",
        null_name="class labels exchanged among regulators",
        null_mean=found.null_mean,
        null_sd=found.null_sd,
        resamples_requested=used["regulator_permutations"],
        resamples_done=found.permutations,
        direction=f"mean AUROC of {found.n} {used['class'].replace('_', ' ')}, minus that of {found.n_others} others",
    )


def _property_row(inputs: AnalysisInputs, role: RoleInputs, table: pd.DataFrame, test_id: str) -> TestResult:
    name = PROPERTIES[test_id]
    word = name.replace("_", " ")
    layer = analysis_layer(inputs, role)
    part = table[np.isfinite(table[name].to_numpy(np.float64))]
    used = _settings(inputs, table) | {"property": name, "regulators_with_property": len(part)}
    reason = ""
    if len(part) < FEWEST:
        why = f"; {WHY_NO_PROPERTY[name]}" if name in WHY_NO_PROPERTY else ""
        reason = f"{len(part)} of {len(table)} regulators have a known {word}, {FEWEST} are needed{why}"
    elif name == "n_targets" and part["regulon_size"].equals(part[name].astype(float)):
        reason = "same as E3.6: every target of the reference is evaluable"
    elif np.ptp(part[name]) == 0.0 or np.ptp(part["auroc"]) == 0.0:
        constant = word if np.ptp(part[name]) == 0.0 else "AUROC"
        reason = f"all {len(part)} regulators have the same {constant}"
    if reason:
        return skip(inputs, test_id, reason, role=role, settings=used, layer=layer)
    test = spearman_test(part[name], part["auroc"])
    rng = generator(inputs, NUMBER, 3, list(PROPERTIES).index(test_id))
    draws = spearman_draws(part[name], part["auroc"], rng, used["bootstrap"])
    interval = percentile_interval(draws, requested=used["bootstrap"])
    used |= {"method": test.method, "smallest_attainable_p": test.smallest_p}
    return row(
        inputs,
        role,
        test_id,
        settings=used,
        layer=layer,
        statistic=test.rho,
        effect=test.rho,
        ci_low=interval.low,
        ci_high=interval.high,
        p=test.p,
        n=test.n,
        unit="regulator",
        null_name=_null(test),
        null_mean=0.0,
        resamples_requested=interval.resamples_requested,
        resamples_done=interval.resamples_done,
        direction=f"AUROC rises with {word} above 0",
    )


def _null(test: SpearmanTest) -> str:
    return "every order of the regulators" if test.method == "exact" else "no correlation"
