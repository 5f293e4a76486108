"""Analysis E1: which biology attention holds at which layer, against the databases that a study names.

Every layer's recovery of every database, whether it changes with depth, what of it is more than co-expression, and
what the very best edges hold. The primary reference goes through the same tables: where attention is known to carry
it, as in the planted control, this analysis has to say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
import pandas as pd

from interp_assets.analyses.database_pairs import (
    VARIANTS,
    DatabasePairs,
    LayerScores,
    attention_layers,
    attention_scores,
    correlation_scores,
    databases,
    why_absent,
)
from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, RoleInputs
from interp_assets.analyses.reference_enrichment import ENRICHED, enrichment_rows, enrichment_table
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
from interp_assets.analyses.scores import check_same_cells
from interp_assets.edges.layers import relative_depth
from interp_assets.stats.exact_spearman import FEWEST, SpearmanTest, spearman_test
from interp_assets.stats.pair_membership import sampled_partial_correlation
from qc_standards.records import TestResult

NUMBER: Final = 101
MOST_POSITIVES: Final = 5_000  # positives of one sample; the published n fit about this many of the largest database
TRENDS: Final[Mapping[str, str]] = {
    "E1.1": "STRING700",
    "E1.2": "STRING900",
    "E1.3": "TRRUST",
    "E1.4": "Reactome",
    "E1.5": "KEGG",
    "E1.6": "GO BP",
}
OPPOSED: Final[Mapping[str, tuple[str, str]]] = {"E1.7": ("STRING900", "TRRUST"), "E1.8": ("STRING700", "TRRUST")}
AGREEING: Final = "E1.9"
FUNCTIONAL: Final = ("KEGG", "GO BP", "Reactome")
PARTIAL: Final[Mapping[str, str]] = {"E1.10": "TRRUST", "E1.11": "GO BP", "E1.12": "KEGG", "E1.13": "Reactome"}
DEPENDENT: Final = "pairs share genes; p takes them as independent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiles:
    """Databases of one role, their table of AUROCs by layer, and why others are absent.

    ``missing`` is the share of pairs that took the lowest score, by layer; "correlation" has its own.
    """

    role: RoleInputs
    found: Mapping[str, DatabasePairs]
    lacking: Mapping[str, str]
    table: pd.DataFrame

    def of(self, name: str) -> pd.DataFrame:
        """Rows of one database, the first layer first."""
        return self.table[self.table["key"] == name].sort_values("layer")

    def aurocs(self, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        """AUROC of attention by layer, with the edge that is primary for the database."""
        return self.of(name)["auroc_attention"].to_numpy(np.float64)


def reference_biology(inputs: AnalysisInputs) -> AnalysisOutput:
    """Attention by layer against the databases of the study's ``reference_sets``.

    Rows: Spearman correlation of AUROC with layer for six databases (E1.1 to E1.6), of two databases' profiles (E1.7,
    E1.8), the median of the three correlations among KEGG, GO BP and Reactome (E1.9, descriptive), partial correlation
    of attention with membership given co-expression at the analysis layer (E1.10 to E1.13), and over- and
    under-representation among the ``top_edges`` best edges at five depths (E1.14 to E1.43). A database that the study
    does not have leaves its rows skipped, with the reason.

    Tables ``reference_profile``, ``reference_profile_correlation``, ``partial_correlation_samples`` and
    ``top_edge_enrichment`` hold the primary reference beside the databases.
    """
    role = role_or_reason(inputs, "primary_screen")
    if isinstance(role, str):
        return skip_all(inputs, role)
    check_same_cells(role)
    found, lacking = databases(role)
    if not any(one.role == "database" for one in found.values()):
        named = "; ".join(lacking.values()) or f"study {inputs.study} names no database that is available"
        return skip_all(inputs, f"{named} (key reference_sets)", role=role)
    profiles = Profiles(role=role, found=found, lacking=lacking, table=_profile_table(role, found))
    partial = _partial_table(inputs, profiles)
    enriched = enrichment_table(inputs, role, found)
    tables = {
        "reference_profile": profiles.table.drop(columns="key"),
        "reference_profile_correlation": _correlation_table(profiles),
        "partial_correlation_samples": partial.drop(columns="key"),
        "top_edge_enrichment": enriched.drop(columns="key"),
    }
    results = [_row(inputs, profiles, partial, spec.test_id) for spec in inputs.tests if spec.test_id not in ENRICHED]
    results += enrichment_rows(inputs, role, enriched, lacking)
    return collect(inputs, results, tables)


def _row(inputs: AnalysisInputs, profiles: Profiles, partial: pd.DataFrame, test_id: str) -> TestResult:
    if test_id in TRENDS:
        return _trend_row(inputs, profiles, test_id)
    if test_id in PARTIAL:
        return _partial_row(inputs, profiles, partial, test_id)
    return _agreement_row(inputs, profiles, test_id)


def _profile_table(role: RoleInputs, found: Mapping[str, DatabasePairs]) -> pd.DataFrame:
    """One row a database and layer: AUROC of attention (primary edge, and all three ways) and of correlation."""
    labels = {name: {way: one.label(way) for way in VARIANTS} for name, one in found.items()}
    correlation = correlation_scores(role)
    beside = {name: correlation.auroc(one, labels[name][one.primary], one.primary) for name, one in found.items()}
    rows = []
    for layer, scores in enumerate(attention_layers(role)):
        for name, one in found.items():
            aurocs = {way: scores.auroc(one, labels[name][way], way) for way in VARIANTS}
            label = labels[name][one.primary]
            rows.append(
                {
                    "key": name,
                    "role": role.role,
                    "evaluated_dataset": role.dataset,
                    "database": one.name,
                    "dataset": one.dataset,
                    "database_role": one.role,
                    "directed": one.pairs.directed,
                    "primary_edge": one.primary,
                    "layer": layer,
                    "depth": relative_depth(layer, role.attention.layers),
                    "auroc_attention": aurocs[one.primary],
                    **{f"auroc_attention_{way}": value for way, value in aurocs.items()},
                    "auroc_correlation": beside[name],
                    "n_pairs": int((label >= 0).sum()),
                    "n_positives": int((label == 1).sum()),
                    "n_genes_listed": int(one.pairs.regulators.size),
                    "missing_share_attention": scores.missing_share,
                    "missing_share_correlation": correlation.missing_share,
                }
            )
    return pd.DataFrame(rows)


def _lacking(inputs: AnalysisInputs, profiles: Profiles, *names: str) -> str:
    absent = [why_absent(inputs, profiles.lacking, name) for name in names if name not in profiles.found]
    return "; ".join(absent)


def _too_few_layers(profiles: Profiles) -> str:
    layers = profiles.role.attention.layers
    if layers >= FEWEST:
        return ""
    return f"the release has {layers} layers; a correlation over layers needs {FEWEST}"


def _over_layers(profiles: Profiles, test: SpearmanTest, **more: Any) -> dict[str, Any]:
    return {
        "layers": profiles.role.attention.layers,
        "method": test.method,
        "missing_rule": "lowest",
        "smallest_attainable_p": test.smallest_p if np.isfinite(test.smallest_p) else None,
        **more,
    }


def _trend_row(inputs: AnalysisInputs, profiles: Profiles, test_id: str) -> TestResult:
    name = TRENDS[test_id]
    reason = _lacking(inputs, profiles, name) or _too_few_layers(profiles)
    if reason:
        return skip(inputs, test_id, reason, role=profiles.role, settings={"database": name})
    aurocs = profiles.aurocs(name)
    test = spearman_test(np.arange(aurocs.size), aurocs)
    one = profiles.found[name]
    used = _over_layers(profiles, test, database=name, dataset=one.dataset, primary_edge=one.primary)
    told = f"rises with depth above 0; p {_reach(test)}"
    return _correlation_row(inputs, profiles.role, test_id, test, used, told)


def _agreement_row(inputs: AnalysisInputs, profiles: Profiles, test_id: str) -> TestResult:
    names = FUNCTIONAL if test_id == AGREEING else OPPOSED[test_id]
    reason = _lacking(inputs, profiles, *names) or _too_few_layers(profiles)
    if reason:
        return skip(inputs, test_id, reason, role=profiles.role, settings={"databases": list(names)})
    tests = [spearman_test(profiles.aurocs(a), profiles.aurocs(b)) for a, b in combinations(names, 2)]
    used = _over_layers(profiles, tests[0], databases=list(names))
    if test_id != AGREEING:
        told = f"profiles agree above 0; p {_reach(tests[0])}"
        return _correlation_row(inputs, profiles.role, test_id, tests[0], used, told)
    each = {f"{a}, {b}": test.rho for (a, b), test in zip(combinations(names, 2), tests, strict=True)}
    used |= {"rho": {pair: rho if np.isfinite(rho) else None for pair, rho in each.items()}}
    return row(
        inputs,
        profiles.role,
        test_id,
        settings=used,
        layer=None,
        effect=float(np.median(list(each.values()))),
        n=tests[0].n,
        direction="median of the three correlations; descriptive, no p",
    )


def _reach(test: SpearmanTest) -> str:
    return f"can reach {test.smallest_p:.3g} with {test.n} layers"


def _correlation_row(
    inputs: AnalysisInputs, role: RoleInputs, test_id: str, test: SpearmanTest, used: Mapping[str, Any], direction: str
) -> TestResult:
    return row(
        inputs,
        role,
        test_id,
        settings=used,
        layer=None,
        statistic=test.rho,
        effect=test.rho,
        p=test.p,
        n=test.n,
        null_name="every order of the layers" if test.method == "exact" else "no correlation",
        null_mean=0.0,
        direction=direction,
    )


def _correlation_table(profiles: Profiles) -> pd.DataFrame:
    """Every two databases: Spearman correlation of their profiles over layers; NaN with fewer than four layers."""
    rows = []
    enough = not _too_few_layers(profiles)
    for a, b in combinations(profiles.found, 2):
        test = spearman_test(profiles.aurocs(a), profiles.aurocs(b)) if enough else None
        rows.append(
            {
                "database": profiles.found[a].name,
                "other_database": profiles.found[b].name,
                "database_role": profiles.found[a].role,
                "other_role": profiles.found[b].role,
                "layers": profiles.role.attention.layers,
                "rho": test.rho if test else np.nan,
                "p": test.p if test else np.nan,
                "smallest_attainable_p": test.smallest_p if test else np.nan,
                "method": test.method if test else "too few layers",
            }
        )
    columns = ("database", "other_database", "database_role", "other_role", "layers", "rho", "p")
    return pd.DataFrame(rows, columns=[*columns, "smallest_attainable_p", "method"])


def _partial_table(inputs: AnalysisInputs, profiles: Profiles) -> pd.DataFrame:
    """One row a database: attention at the analysis layer against membership, raw and given co-expression."""
    samples = int(chosen_settings(inputs, "partial_samples")["partial_samples"])
    role, layer = profiles.role, analysis_layer(inputs, profiles.role)
    attention = attention_scores(role, layer)
    correlation = correlation_scores(role)
    wanted = {name: one for name, one in profiles.found.items() if name in PARTIAL.values() or one.role != "database"}
    rows = [_partial_record(inputs, one, name, attention, correlation, samples, layer) for name, one in wanted.items()]
    columns = ("key", "database", "dataset", "database_role", "layer")
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(columns))


def _partial_record(
    inputs: AnalysisInputs,
    one: DatabasePairs,
    name: str,
    attention: LayerScores,
    correlation: LayerScores,
    samples: int,
    layer: int,
) -> dict[str, Any]:
    label = one.label(one.primary)
    candidate = label >= 0
    place = sorted({*PARTIAL.values(), "primary reference"}).index(name)
    found = sampled_partial_correlation(
        one.scores(attention.score, one.primary)[candidate],
        one.scores(correlation.score, one.primary)[candidate],
        label[candidate] == 1,
        generator(inputs, NUMBER, place),
        samples,
        MOST_POSITIVES,
    )
    return {
        "key": name,
        "database": one.name,
        "dataset": one.dataset,
        "database_role": one.role,
        "layer": layer,
        "primary_edge": one.primary,
        "n_positives": int((label == 1).sum()),
        "n_negatives": int((label == 0).sum()),
        "positives_a_sample": found.positives,
        "n": found.n,
        "raw": found.raw,
        "raw_sd": found.raw_sd,
        "partial": found.partial,
        "partial_sd": found.partial_sd,
        "kept_share": found.kept,
        "p": found.p,
        "significant_share": found.significant_share,
        "samples_requested": found.requested,
        "samples_done": found.done,
        "missing_share": attention.missing_share,
    }


def _partial_row(inputs: AnalysisInputs, profiles: Profiles, table: pd.DataFrame, test_id: str) -> TestResult:
    name, role = PARTIAL[test_id], profiles.role
    layer = analysis_layer(inputs, role)
    reason = _lacking(inputs, profiles, name)
    if reason:
        return skip(inputs, test_id, reason, role=role, settings={"database": name}, layer=layer)
    found = table[table["key"] == name].iloc[0]
    numbers = ("raw", "raw_sd", "partial_sd", "kept_share", "significant_share")
    used = chosen_settings(inputs, "analysis_depth", "partial_samples") | {
        "assumes": DEPENDENT,
        "database": name,
        "dataset": found["dataset"],
        "given": "absolute Spearman correlation of expression over the same cells",
        "missing_rule": "lowest",
        "missing_share": found["missing_share"],
        "most_positives": MOST_POSITIVES,
        "primary_edge": found["primary_edge"],
        **{key: float(found[key]) if np.isfinite(found[key]) else None for key in numbers},
    }
    return row(
        inputs,
        role,
        test_id,
        settings=used,
        layer=layer,
        statistic=found["raw"],
        effect=found["partial"],
        p=found["p"],
        n=int(found["n"]),
        null_name="no correlation",
        null_mean=0.0,
        resamples_requested=int(found["samples_requested"]),
        resamples_done=int(found["samples_done"]),
        direction=f"mean over samples of negatives; n and p are those of one sample; {DEPENDENT}",
    )
