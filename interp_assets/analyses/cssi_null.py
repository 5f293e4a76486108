"""Analysis 24: what stratified scores gain from strata that mean nothing, over numbers of strata and aggregators.

What belongs here: the declared rows and tables. What does not: generators, strata, scores (`stats`), one dataset of a
design (`cssi_designs`), real attention (`cssi_attention`). Source: paper section 5, analysis 24, and section 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses import rows
from interp_assets.analyses.cell_scores import LAYER_CHOSEN_HERE
from interp_assets.analyses.cssi_attention import JudgedAttention, judged_attention
from interp_assets.analyses.cssi_designs import (
    KINDS,
    NULLS,
    Dataset,
    Recovered,
    label_sets,
    null_embeddings,
    pooled_calls,
    recovered,
    scored_dataset,
)
from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, Simulated
from interp_assets.edges.layers import resolve_layer
from interp_assets.stats.cssi import best_of, exceedance_p
from interp_assets.stats.resampling import bootstrap_mean, percentile_interval
from interp_assets.stats.state_mixtures import multi_state
from interp_assets.stats.strata import StrataError, kmeans_strata, require_cells, shuffled_strata
from qc_standards.records import TestResult

Float = NDArray[np.float64]

NUMBER: Final = 24
SETTINGS: Final = ("cssi_draws", "cssi_minimum", "cssi_scan_seeds", "cssi_k_max", "cssi_attention_draws")
AGGREGATORS: Final = ("max", "mean", "scenic")
CELLS, STATES = 600, 6
ATTENTION_K: Final = (2, 4, 6, 8, 12, 20)  # ranking tens of thousands of pairs a stratum is slow
BOOTSTRAP: Final = 1000
NULL_ROWS: Final = {"A24.1": "shuffled", "A24.2": "random", "A24.3": "gene_permuted"}
NULL_TEXT: Final = {
    "shuffled": "known labels dealt to other cells, sizes kept",
    "random": "labels drawn uniformly",
    "gene_permuted": "strata of an embedding of gene-permuted cells",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """Recovery on every simulated dataset by number of strata and kind: ``found[k][kind]`` has one entry a dataset."""

    data: tuple[Dataset, ...]
    found: Mapping[int, Mapping[str, tuple[Recovered, ...]]]
    refused: Mapping[int, str]

    @property
    def pooled(self) -> Float:
        """AUROC of pooled cells by dataset."""
        return np.array([data.pooled_auroc for data in self.data])

    def gain(self, k: int, kind: str, aggregator: str) -> Float:
        """AUROC gained over pooled cells, datasets x draws."""
        values = np.stack([found.auroc[aggregator] for found in self.found[k][kind]])
        return np.asarray(values - self.pooled[:, None])


def cssi_null(inputs: AnalysisInputs) -> AnalysisOutput:
    """Rows A24.1 to A24.4.

    Tables
    ------
    cssi_null
        One kind of strata, number of strata and aggregator on the synthetic design (600 cells, 6 states): columns of
        standard QCS-36. A draw is one label set on every dataset; its gain is the mean over datasets. The interval is
        over draws for null strata and over datasets for known and estimated ones.
    cssi_null_draws
        Best gain of each null draw over numbers of strata and aggregators, and the choice that gave it; the same for
        oracle and estimated strata (``draw`` -1).
    cssi_k_scan
        By number of strata, kind and aggregator: F1 and its ratio to pooled cells, realised false share and power of
        called edges (known and estimated strata), strata scored; ``refused`` says why a number of strata was not run.
    cssi_attention_scan
        Real attention at the analysis layer: AUROC of estimated and shuffled strata by number of strata, aggregator.
    """
    used = rows.chosen_settings(inputs, *SETTINGS, "analysis_depth")
    scan = _scanned(inputs, used)
    if not scan.found:
        return rows.skip_all(inputs, next(iter(scan.refused.values())), role=Simulated())
    draws = _best_draws(scan)
    tables = {"cssi_null": _null_table(inputs, scan), "cssi_null_draws": draws, "cssi_k_scan": _scan_table(scan)}
    minimum = int(used["cssi_minimum"])
    judged = judged_attention(inputs, minimum, int(used["cssi_k_max"]), rows.generator(inputs, NUMBER, 6))
    if not isinstance(judged, str):
        tables["cssi_attention_scan"] = _attention_scan(inputs, judged, used)
    results = [_null_row(inputs, test, kind, draws, scan, used) for test, kind in NULL_ROWS.items()]
    results.append(_scan_row(inputs, tables, scan, judged, used))
    return rows.collect(inputs, results, tables)


def _scanned(inputs: AnalysisInputs, used: Mapping[str, Any]) -> Scan:
    minimum, draws = int(used["cssi_minimum"]), int(used["cssi_draws"])
    refused: dict[int, str] = {}
    for k in range(2, int(used["cssi_k_max"]) + 1):
        try:
            require_cells(CELLS, k, minimum)
        except StrataError as error:
            refused[k] = str(error)
    wanted = [k for k in range(2, int(used["cssi_k_max"]) + 1) if k not in refused]
    found: dict[int, dict[str, list[Recovered]]] = {k: {kind: [] for kind in KINDS} for k in wanted}
    every = []
    for seed in range(int(used["cssi_scan_seeds"])):
        rng = rows.generator(inputs, NUMBER, 1, seed)
        data = scored_dataset(multi_state(rng, CELLS, STATES))
        every.append(data)
        nulls = null_embeddings(data, draws, rng)
        for k in wanted:
            for kind, labels in label_sets(data, k, nulls, rng).items():
                calls = None if kind in NULLS else rng
                found[k][kind].append(recovered(data, labels, k, minimum, aggregators=AGGREGATORS, calls=calls))
    kept: dict[int, dict[str, tuple[Recovered, ...]]] = {}
    for k, kinds in found.items():
        if any(int(run.scored.min()) == 0 for runs in kinds.values() for run in runs):
            refused[k] = f"a label set of {k} strata has none of {minimum} cells; lower cssi_k_max or cssi_minimum"
        else:
            kept[k] = {kind: tuple(runs) for kind, runs in kinds.items()}
    return Scan(data=tuple(every), found=kept, refused=refused)


def _null_table(inputs: AnalysisInputs, scan: Scan) -> pd.DataFrame:
    table = []
    for k, kinds in scan.found.items():
        for aggregator in AGGREGATORS:
            null = {kind: scan.gain(k, kind, aggregator).mean(axis=0) for kind in NULLS}
            every = np.concatenate(list(null.values()))
            for kind, runs in kinds.items():
                gain = scan.gain(k, kind, aggregator)
                row = _null_facts(kind, aggregator, k, runs, scan)
                row |= {"stratified": row["pooled"] + gain.mean(), "gain": gain.mean()}
                if kind in NULLS:
                    interval = percentile_interval(null[kind], requested=gain.shape[1])
                    p = None
                else:
                    rng = rows.generator(inputs, NUMBER, 2, k)
                    interval = bootstrap_mean(gain[:, 0], rng, BOOTSTRAP)
                    p = exceedance_p(every, float(gain.mean()))
                row |= {"ci_low": interval.low, "ci_high": interval.high, "p_against_null": p}
                row["gain_called"] = bool(
                    kind == "estimated" and p is not None and p <= 0.05 and interval.low > 0 and gain.mean() > 0
                )
                table.append(row)
    return pd.DataFrame(table).astype({"p_against_null": float})


def _null_facts(kind: str, aggregator: str, k: int, runs: Sequence[Recovered], scan: Scan) -> dict[str, Any]:
    draws = runs[0].scored.size if kind in NULLS else len(runs)
    return {
        "strata": kind,
        "aggregator": aggregator,
        "k": k,
        "n_cells": CELLS,
        "smallest_stratum": min(int(run.smallest.min()) for run in runs),
        "draws_requested": draws,
        "draws_done": draws,
        "pooled": float(scan.pooled.mean()),
        "datasets": len(scan.data),
    }


def _best_draws(scan: Scan) -> pd.DataFrame:
    """Table `cssi_null_draws`: the same choice of number of strata and aggregator for real and for null strata."""
    choices = [(k, aggregator) for k in scan.found for aggregator in AGGREGATORS]
    table = []
    for kind in KINDS:
        gains = {f"{k}:{name}": scan.gain(k, kind, name).mean(axis=0) for k, name in choices}
        best, which = best_of(gains)
        for draw, (value, number) in enumerate(zip(best, which, strict=True)):
            k, name = choices[int(number)]
            told = {"strata": kind, "draw": draw if kind in NULLS else -1, "gain": float(value)}
            table.append({**told, "best_k": k, "best_aggregator": name, "choices": len(choices)})
    return pd.DataFrame(table)


def _scan_table(scan: Scan) -> pd.DataFrame:
    """Table `cssi_k_scan`; pooled cells have ``k`` 1 and refused numbers of strata a row without numbers."""
    pooled_f1 = float(np.mean([data.pooled_f1 for data in scan.data]))
    called = np.array([pooled_calls(data) for data in scan.data]).mean(axis=0)
    first = {"k": 1, "strata": "pooled", "aggregator": "pooled", "f1": pooled_f1, "f1_ratio": 1.0}
    first |= {"auroc": float(scan.pooled.mean()), "false_share": called[0], "power": called[1], "refused": ""}
    table: list[dict[str, Any]] = [first]
    for k, kinds in scan.found.items():
        for kind, runs in kinds.items():
            for name in AGGREGATORS:
                f1 = float(np.mean([run.f1[name].mean() for run in runs]))
                row = {"k": k, "strata": kind, "aggregator": name, "f1": f1, "refused": ""}
                row |= {"f1_ratio": f1 / pooled_f1 if pooled_f1 > 0 else np.nan}
                row |= {"auroc": float(np.mean([run.auroc[name].mean() for run in runs]))}
                if kind not in NULLS:
                    row |= {"false_share": float(np.mean([run.false_share[name].mean() for run in runs]))}
                    row |= {"power": float(np.mean([run.power[name].mean() for run in runs]))}
                row |= {"strata_scored": float(np.mean([run.scored.mean() for run in runs]))}
                table.append(row)
    table += [{"k": k, "strata": "", "aggregator": "", "refused": reason} for k, reason in scan.refused.items()]
    return pd.DataFrame(table).assign(cells=CELLS, states=STATES, datasets=len(scan.data))


def _attention_scan(inputs: AnalysisInputs, judged: JudgedAttention, used: Mapping[str, Any]) -> pd.DataFrame:
    """Table `cssi_attention_scan`: k-means on the model's embedding at the numbers of strata the cells allow."""
    minimum, draws = int(used["cssi_minimum"]), int(used["cssi_attention_draws"])
    layer = resolve_layer(float(used["analysis_depth"]), judged.layers)
    rng, pooled = rows.generator(inputs, NUMBER, 7), judged.pooled([layer])
    base = float(judged.pooled_auroc([layer])[0])
    table: list[dict[str, Any]] = []
    for k in (k for k in ATTENTION_K if k <= int(used["cssi_k_max"])):
        about = {"k": k, "layer": layer, "cells": judged.cells, "reference": judged.reference, "pooled": base}
        try:
            require_cells(judged.cells, k, minimum)
        except StrataError as error:
            table.append({**about, "strata": "", "aggregator": "", "refused": str(error)})
            continue
        label = kmeans_strata(judged.embedding, k, rng)
        sets = {"estimated": label[None], "shuffled": shuffled_strata(label, rng, draws)}
        found = {
            kind: np.stack([judged.recovered(one, [layer], pooled, AGGREGATORS, minimum)[0] for one in labels]) - base
            for kind, labels in sets.items()
        }
        scored = int((np.bincount(label, minlength=k) >= minimum).sum())
        for kind, gain in found.items():
            for number, name in enumerate(AGGREGATORS):
                row = {**about, "strata": kind, "aggregator": name, "refused": "", "strata_scored": scored}
                row |= {"draws": len(gain), "gain": float(gain[:, number].mean())}
                p = exceedance_p(found["shuffled"][:, number], float(gain[0, number])) if kind == "estimated" else None
                table.append({**row, "stratified": base + row["gain"], "p_against_null": p})
    return pd.DataFrame(table)


def _null_row(
    inputs: AnalysisInputs, test: str, kind: str, draws: pd.DataFrame, scan: Scan, used: Mapping[str, Any]
) -> TestResult:
    best = {name: part["gain"].to_numpy() for name, part in draws.groupby("strata")}
    null, oracle, estimated = best[kind], float(best["oracle"][0]), float(best["estimated"][0])
    interval = percentile_interval(null, requested=int(used["cssi_draws"]))
    base = float(scan.pooled.mean())
    text = (
        f"AUROC that strata without meaning ({NULL_TEXT[kind]}) gain over pooled cells ({base:.3f}), best of all "
        "numbers of strata and aggregators, interval over draws: what the choice alone yields. The same choice gains "
        f"{oracle:.3f} with known states (p is theirs against this null) and {estimated:.3f} with estimated ones "
        f"(p {exceedance_p(null, estimated):.2g})."
    )
    return rows.row(
        inputs,
        Simulated(),
        test,
        settings={**_told(used, "cssi_draws"), "k": list(scan.found), "null": kind},
        layer=None,
        effect=float(null.mean()),
        ci_low=interval.low,
        ci_high=interval.high,
        p=exceedance_p(null, oracle),
        n=int(null.size),
        null_name=NULL_TEXT[kind],
        null_mean=float(null.mean()),
        null_sd=float(null.std(ddof=1)) if null.size > 1 else None,
        resamples_requested=int(used["cssi_draws"]),
        resamples_done=int(null.size),
        direction=text,
    )


def _scan_row(
    inputs: AnalysisInputs,
    tables: Mapping[str, pd.DataFrame],
    scan: Scan,
    judged: JudgedAttention | str,
    used: Mapping[str, Any],
) -> TestResult:
    table = tables["cssi_k_scan"]
    known = table[(table["strata"] == "oracle") & (table["aggregator"] == "max")].set_index("k")
    guess = table[(table["strata"] == "estimated") & (table["aggregator"] == "max")].set_index("k")
    best = int(known["f1_ratio"].idxmax()) if known["f1_ratio"].notna().any() else int(known.index[0])
    ratios = np.array(
        [run.f1["max"][0] / data.pooled_f1 if data.pooled_f1 > 0 else np.nan
         for run, data in zip(scan.found[best]["oracle"], scan.data, strict=True)]
    )  # fmt: skip
    kept = ratios[np.isfinite(ratios)]
    interval = bootstrap_mean(kept, rows.generator(inputs, NUMBER, 3), BOOTSTRAP) if kept.size else None
    if isinstance(judged, str):
        real = f"Real attention was not scanned: {judged}."
    else:
        scanned = tables["cssi_attention_scan"]
        seen = scanned[scanned["strata"] == "estimated"]["gain"]
        real = (
            f"On real attention estimated strata gain {seen.max():.3f} AUROC at best, {seen.median():.3f} as median, "
            f"at one layer; {LAYER_CHOSEN_HERE}."
        )
    calls = known.loc[best]
    text = (
        f"F1 of the best-stratum score over pooled F1 with known states brought to {best} strata, where it is largest "
        "(mean over datasets; the interval leaves out that choice); above 1 strata recover more. "
        f"False share of called edges {calls['false_share']:.3f}, "
        f"power {calls['power']:.3f}. Estimated strata reach a ratio of {guess['f1_ratio'].max():.3f} at "
        f"best. {real}"
    )
    return rows.row(
        inputs,
        Simulated(),
        "A24.4",
        settings={
            **_told(used),
            **({} if isinstance(judged, str) else {"analysis_depth": used["analysis_depth"]}),
            "k": list(scan.found),
            "best_k": best,
            "aggregator": "max",
            "calls": "Benjamini-Hochberg at .05",
        },
        layer=None if isinstance(judged, str) else resolve_layer(float(used["analysis_depth"]), judged.layers),
        effect=float(kept.mean()) if kept.size else float("nan"),
        ci_low=None if interval is None else interval.low,
        ci_high=None if interval is None else interval.high,
        n=int(kept.size),
        resamples_requested=BOOTSTRAP,
        resamples_done=0 if interval is None else interval.resamples_done,
        direction=text,
    )


def _told(used: Mapping[str, Any], *more: str) -> dict[str, Any]:
    names = ("cssi_minimum", "cssi_scan_seeds", "cssi_k_max", *more)
    about = {"cells": CELLS, "states": STATES, "aggregators": AGGREGATORS, "estimated_strata": "k-means"}
    return {**{name: used[name] for name in names}, **about}
