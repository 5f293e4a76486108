"""Screens side by side: what each kind of score can be held against, and how well it ranks the responders.

These tables are no declared tests. They show on every real screen of a study what the battery's one primary screen
shows: how far gene-level statistics, pairwise baselines and attention get, on how many perturbations, and why the
others are not among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.assemble import DatasetArtefacts, positions_in, screen_de_rate
from interp_assets.analyses.scores import expression_matched_label
from interp_assets.cells.outcomes import source_reasons
from interp_assets.cells.own_change import modality_agreement
from interp_assets.cells.records import ScreenLabels, Unavailable
from interp_assets.edges.layers import resolve_layer
from interp_assets.edges.records import AttentionEdges
from interp_assets.stats.ranking import fill_missing, rank_rows
from interp_assets.stats.resampling import bootstrap_mean

Float = NDArray[np.float64]
Basis = Literal["own", "common"]
PAIRWISE = ("correlation", "rank_distance", "co_detection")
GENE_LEVEL = ("variance", "mean", "one_minus_dropout", "tf_out_degree", "de_rate")
LEVELS = {**dict.fromkeys(GENE_LEVEL, "gene_level"), **dict.fromkeys(PAIRWISE, "pairwise"), "attention": "attention"}
TOO_FEW = "fewer than {positives} positive or {negatives} negative candidates"
NOT_KNOWN = "perturbed gene is not in the vocabulary"


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """One screen in one role: what is stored of it, and the release's attention over its control cells.

    ``vocabularies`` are the published tokenisers whose reach the study counts.
    """

    role: str
    role_fit: str
    data: DatasetArtefacts | Unavailable
    attention: AttentionEdges | Unavailable
    vocabularies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Settings of the comparison: least candidates of a perturbation, resamples, folds and seed."""

    min_positives: int
    min_negatives: int
    bootstrap: int
    folds: int
    seed: int

    def scorable(self, label: NDArray[np.int8]) -> NDArray[np.bool_]:
        """Rows of ``label`` with enough positive and negative candidates to have an AUROC."""
        positives, negatives = (label == 1).sum(axis=1), (label == 0).sum(axis=1)
        return (positives >= max(1, self.min_positives)) & (negatives >= max(1, self.min_negatives))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reach:
    """Perturbations (rows) and genes (columns) that one kind of score can be held against."""

    score: str
    rows: NDArray[np.bool_]
    columns: NDArray[np.bool_]
    reasons: pd.DataFrame


def compare_screens(screens: list[Screen], depth: float, limits: Limits) -> dict[str, pd.DataFrame]:
    """Tables ``screen_scores``, ``screen_evaluability``, ``screen_losses`` and ``modality_audit`` over all screens.

    ``screen_scores`` has one row a screen, gene subset, basis and score: the mean per-perturbation AUROC with a
    bootstrap interval over perturbations. Basis ``own`` takes all that the score can be held against, ``common``
    only the perturbations and genes that attention can be held against (pairwise scores where it has no perturbation
    with enough candidates), so that rows can be compared.
    ``screen_evaluability`` counts perturbations and pairs a kind of score reaches, ``screen_losses`` says why the
    others are out of reach.
    """
    scores, counts, losses, own = [], [], [], []
    for screen in screens:
        facts = {"role": screen.role, "role_fit": screen.role_fit}
        if isinstance(screen.data, Unavailable):
            gone = {"dataset": screen.data.dataset, "score": "every score", "reason": screen.data.reason}
            losses.append(pd.DataFrame([{**facts, **gone, "perturbations": pd.NA}]))
            continue
        labels = screen.data.labels
        facts |= {"dataset": labels.dataset}
        reaches = list(_reaches(screen, screen.data))
        rows = _score_rows(screen, screen.data, reaches, depth, limits)
        scores += [{**facts, **_origin(labels), **row} for row in rows]
        counts += [{**facts, **_counted(labels, reach, limits)} for reach in reaches]
        losses += [_lost(labels, reach, limits).assign(**facts, score=reach.score) for reach in reaches]
        losses += [pd.DataFrame([{**facts, **gone}]) for gone in _absent_vocabularies(screen, screen.data)]
        own.append(modality_agreement(labels.own_change, labels.modality).assign(**facts))
    return {
        "screen_scores": pd.DataFrame(scores),
        "screen_evaluability": pd.DataFrame(counts),
        "screen_losses": _stacked(losses, ["role", "role_fit", "dataset", "score", "reason", "perturbations"]),
        "modality_audit": _stacked(own, ["role", "role_fit", "dataset"]),
    }


def _absent_vocabularies(screen: Screen, data: DatasetArtefacts) -> Iterator[dict[str, Any]]:
    """Vocabularies that the study names and whose file was not there: their reach is not known."""
    for name in screen.vocabularies:
        if f"in_{name}" not in data.features:
            reason = f"vocabulary {name} is not available; `interp datasets list` says why"
            yield {"score": name, "reason": reason, "perturbations": pd.NA}


def _origin(labels: ScreenLabels) -> dict[str, str]:
    return {
        "data_origin": labels.data_origin,
        "kind": labels.kind,
        "modality": labels.modality,
        "context_mismatch": labels.context_mismatch,
    }


def _stacked(frames: list[pd.DataFrame], first: list[str]) -> pd.DataFrame:
    kept = [frame for frame in frames if len(frame)]
    if not kept:
        return pd.DataFrame(columns=first)
    table = pd.concat(kept, ignore_index=True)
    if "perturbations" in table:
        table["perturbations"] = table["perturbations"].astype("Int64")
    return table[[*first, *(column for column in table if column not in first)]]


def _reaches(screen: Screen, data: DatasetArtefacts) -> Iterator[_Reach]:
    """Reach of gene-level, pairwise and attention scores, and of each published vocabulary."""
    labels = data.labels
    every = np.ones(labels.perturbations.size, dtype=bool)
    genes = np.ones(labels.genes.size, dtype=bool)
    yield _Reach(score="gene_level", rows=every, columns=genes, reasons=labels.exclusions)
    scored = labels.with_scored_source
    pairwise = pd.concat([labels.exclusions, source_reasons(labels)], ignore_index=True)
    yield _Reach(score="pairwise", rows=scored, columns=genes, reasons=pairwise)
    if isinstance(screen.attention, Unavailable):
        gone = pd.DataFrame({"perturbation": labels.perturbations, "reason": screen.attention.reason})
        yield _Reach(score="attention", rows=~every, columns=~genes, reasons=pd.concat([labels.exclusions, gone]))
    else:
        yield _known("attention", labels, np.isin(labels.genes, screen.attention.genes), pairwise)
    for name in sorted(column for column in data.features if column.startswith("in_")):
        known = data.features.loc[labels.genes.tolist(), name].to_numpy(dtype=bool)
        yield _known(name.removeprefix("in_"), labels, known, pairwise)


def _known(score: str, labels: ScreenLabels, known: NDArray[np.bool_], earlier: pd.DataFrame) -> _Reach:
    rows = np.isin(labels.perturbations, labels.genes[known])
    lost = labels.perturbations[labels.with_scored_source & ~rows]
    unknown = pd.DataFrame({"perturbation": lost, "reason": NOT_KNOWN})
    return _Reach(score=score, rows=rows, columns=known, reasons=pd.concat([earlier, unknown], ignore_index=True))


def _inside(labels: ScreenLabels, reach: _Reach) -> NDArray[np.int8]:
    """Labels of the perturbations and genes in reach."""
    return np.asarray(labels.label)[np.ix_(reach.rows, reach.columns)]


def _counted(labels: ScreenLabels, reach: _Reach, limits: Limits) -> dict[str, Any]:
    label = _inside(labels, reach)
    enough = limits.scorable(label)
    listed = labels.facts.get("listed") or {}
    return {
        "score": reach.score,
        "perturbations_listed": int(listed.get("perturbations", labels.perturbations.size)),
        "pairs_listed": int(listed.get("pairs", int((np.asarray(labels.label) >= 0).sum()))),
        "perturbations": int((label >= 0).any(axis=1).sum()),
        "pairs": int((label >= 0).sum()),
        "positives": int((label == 1).sum()),
        "scorable_perturbations": int(enough.sum()),
        "scorable_pairs": int((label[enough] >= 0).sum()),
    }


def _lost(labels: ScreenLabels, reach: _Reach, limits: Limits) -> pd.DataFrame:
    """How many perturbations each reason costs; the candidates' rule comes last."""
    few = int((~limits.scorable(_inside(labels, reach))).sum())
    counted = reach.reasons.groupby("reason", sort=True).size().rename("perturbations").reset_index()
    if few:
        told = TOO_FEW.format(positives=limits.min_positives, negatives=limits.min_negatives)
        counted = pd.concat([counted, pd.DataFrame([{"reason": told, "perturbations": few}])], ignore_index=True)
    return counted


def _score_rows(
    screen: Screen, data: DatasetArtefacts, reaches: list[_Reach], depth: float, limits: Limits
) -> Iterator[dict[str, Any]]:
    if data.labels.perturbations.size == 0:
        return
    reach = {item.score: item for item in reaches}
    in_order = [reach["attention"], reach["pairwise"]]
    common = next((one for one in in_order if limits.scorable(_inside(data.labels, one)).any()), reach["pairwise"])
    for name, score in _scores(screen, data, depth, limits):
        bases: dict[Basis, _Reach] = {"own": reach[LEVELS[name]], "common": common}
        for basis, chosen in bases.items():
            if not chosen.rows.any():
                continue
            ranked = rank_rows(_within(score, LEVELS[name], data.labels, chosen))
            for subset, label in _subsets(data, chosen):
                yield {
                    "subset": subset,
                    "basis": basis,
                    "score": name,
                    "level": LEVELS[name],
                    **_summary(ranked.auroc(label), label, limits),
                }


def _scores(screen: Screen, data: DatasetArtefacts, depth: float, limits: Limits) -> Iterator[tuple[str, Float]]:
    """Scores by name over the scored genes: G or perturbations x G (gene-level), or genes x genes (edges)."""
    labels, table = data.labels, data.features.loc[data.labels.genes.tolist()]
    yield "variance", table["variance"].to_numpy(np.float64)
    yield "mean", table["mean"].to_numpy(np.float64)
    yield "one_minus_dropout", 1.0 - table["dropout"].to_numpy(np.float64)
    degree = table["out_degree"].to_numpy(np.float64)
    if np.isfinite(degree).all():
        yield "tf_out_degree", degree
    rate = screen_de_rate(labels, limits.folds, limits.seed)
    if rate is not None:
        yield "de_rate", rate
    for name in PAIRWISE:
        if name in data.edges:
            yield name, np.asarray(data.edges[name].score, dtype=np.float64)
    if isinstance(screen.attention, AttentionEdges):
        edges = screen.attention
        matrix = np.full((labels.genes.size, labels.genes.size), np.nan)
        at = positions_in(labels.genes, edges.genes)
        matrix[np.ix_(at, at)] = edges.layer_matrix(resolve_layer(depth, edges.layers)).score
        yield "attention", matrix


def _within(score: Float, level: str, labels: ScreenLabels, reach: _Reach) -> Float:
    """Scores of the perturbations and genes in reach; missing pairs of edges are filled among these genes only."""
    if score.ndim == 1:
        return score[reach.columns]
    if level == "gene_level":
        return score[np.ix_(reach.rows, reach.columns)]
    genes = labels.genes[reach.columns]
    place = pd.Index(genes).get_indexer(pd.Index(labels.perturbations[reach.rows]))
    return fill_missing(score[np.ix_(reach.columns, reach.columns)])[0][place]


def _subsets(data: DatasetArtefacts, reach: _Reach) -> Iterator[tuple[str, NDArray[np.int8]]]:
    """Gene subsets worth reporting: all, the informative genes, and expression-matched negatives of listed pairs."""
    label = _inside(data.labels, reach)
    yield "all", label
    informative = np.asarray(data.labels.informative)[reach.columns]
    if not informative.all():
        yield "informative", np.where(informative, label, np.int8(-1))
    if data.labels.kind == "outcome_only":
        mean = data.features.loc[data.labels.genes[reach.columns].tolist(), "mean"].to_numpy()
        yield "expression_matched", expression_matched_label(label, mean)


def _summary(values: Float, label: NDArray[np.int8], limits: Limits) -> dict[str, Any]:
    keep = limits.scorable(label)
    kept = values[keep]
    facts: dict[str, Any] = {"n_perturbations": int(kept.size), "n_pairs": int((label[keep] >= 0).sum())}
    if kept.size == 0:
        return {**facts, **dict.fromkeys(("mean_auroc", "sd_auroc", "ci_low", "ci_high"), np.nan), **_draws(limits, 0)}
    interval = bootstrap_mean(kept, np.random.default_rng([limits.seed, kept.size]), limits.bootstrap)
    return {
        **facts,
        "mean_auroc": float(kept.mean()),
        "sd_auroc": float(kept.std(ddof=1)) if kept.size > 1 else np.nan,
        "ci_low": interval.low if kept.size > 1 else np.nan,
        "ci_high": interval.high if kept.size > 1 else np.nan,
        **_draws(limits, interval.resamples_done),
    }


def _draws(limits: Limits, done: int) -> dict[str, int]:
    return {"resamples_requested": limits.bootstrap, "resamples_done": done}


def by_score(table: pd.DataFrame, basis: Basis, subset: str) -> Mapping[str, pd.DataFrame]:
    """Rows of ``screen_scores`` of one basis and subset, by dataset."""
    chosen = table[(table["basis"] == basis) & (table["subset"] == subset)]
    return {str(name): rows for name, rows in chosen.groupby("dataset", sort=False)}
