"""Are the battery's p-values uniform where nothing was perturbed? Judged on real non-targeting guides.

Guides that target nothing are a screen whose every label is noise. Each gets a random gene as its pretended
perturbed gene; then the tests of analyses 19, 21 and 22 run as they do on a real screen.

Who is compared with whom. Cells in which a guide was found are read deeper than cells without one (8% more counts
in Gasperini 2019), and depth moves every gene: against guide-free cells 7.2% of the tests have p < .05 there, against
the cells of other guides 5.7%. So the cells of a guide are compared with those of the other non-targeting guides;
only cells with exactly one non-targeting guide take part.

Which labels. Under a null no gene passes a false discovery rate, so the labels are the genes at nominal p < .05
without a fold. They are called by Welch's t (primary configuration) and by Mann-Whitney (baseline configuration).

Which genes. Where a guide's few cells hold no count of a rare gene, the group has no variance and Welch's t is far
too sure. ``detected`` genes are those of which at least 10 cells of the smallest guide are expected to hold a count
(the usual condition of the normal approximation to a binomial); ``all`` shows what happens without that rule.

Which replicates. ``shuffled``: guide labels shuffled over the cells, so that the null is true by construction and
replicates are independent; this calibrates the tests. ``observed``: the guides as they are, each replicate a random
half of them with new pretended genes. Those replicates share cells, so their limit is what the same procedure gives
on shuffled guides; a test is uniform there if real guides behave like shuffled ones and it is uniform on those.

What is left on shuffled guides of Gasperini 2019, detected genes, 1,000 replicates. Co-expressed genes are called
together, which skews the AUROC of correlation: its one-sided test has 5.5% (Welch labels) and 3.3% (Mann-Whitney)
below .05 and a mean p of .53 and .56, on the safe side (``valid``, not always ``uniform``). And Welch calls 6.0% of the
least variable fifth of the genes and 5.1% to 5.3% of the others, so that variance differs from an edge at p < .05 in
8% of the replicates; 200 do not resolve that. With the cells of each gene shuffled by themselves, so that no gene is
co-expressed, and Mann-Whitney labels, neither is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.calibration import Calibration
from interp_assets.cells.differential import expression_against_the_rest, ranks_against_the_rest
from interp_assets.cells.guide_outcomes import NON_TARGETING, guide_holders
from interp_assets.cells.moments import detection, membership
from interp_assets.cells.outcome_tables import positions
from interp_assets.cells.records import PreparedCells
from interp_assets.edges.records import EdgeMatrix
from interp_assets.stats.paired import signed_rank
from interp_assets.stats.ranking import fill_missing, rank_rows
from interp_assets.stats.uniformity import (
    Uniformity,
    clustered_uniformity,
    dependent_uniformity,
    independent_uniformity,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Float = NDArray[np.float64]
Test = tuple[str, str]  # analysis, scores
DE = "differential_expression"
NAMES = {"welch": "Welch", "mann_whitney": "Mann-Whitney"}
LABELS = tuple(NAMES)
SUMMARY = {
    "mean_p": "mean",
    "share_below_05": "share_below",
    **{name: name for name in ("share_low", "share_high", "ks", "ks_limit", "uniform", "excess", "valid")},
}
NOTES = {
    "shuffled": "guides shuffled over cells; smaller deviations than the limit are not resolved",
    "observed": "guides as they are; the limit is that of the same procedure on {references} shuffles",
}


NOT_EVALUABLE = "in some replicate too few guides have enough called genes"
FEWEST_UNITS = 6  # of fewer guides no signed-rank p is below .03


class NothingToCalibrateError(ValueError):
    """The cells cannot serve as a null; the message says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSettings:
    """Replicates and rules.

    ``replicates`` shuffles of the guide labels; ``draws`` replicates of the observed guides, and ``references``
    shuffles on which the same ``draws`` are repeated. A guide needs ``min_cells`` cells. A gene is called at p below
    ``nominal``; a guide needs ``min_positives`` called genes and as many others.
    """

    replicates: int = 200
    draws: int = 20
    references: int = 19
    min_cells: int = 30
    min_guides: int = 10
    detecting_cells: float = 10.0
    nominal: float = 0.05
    min_positives: int = 3
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What is ranked, all in the order of ``genes``: edge scores G x G, gene-level features G, by name."""

    genes: NDArray[np.str_]
    edges: Mapping[str, Float]
    features: Mapping[str, Float]

    def only(self, kept: NDArray[np.bool_]) -> Scored:
        """The same scores over fewer genes; missing edges at the lowest score, as everywhere."""
        both = np.ix_(kept, kept)
        return Scored(
            genes=self.genes[kept],
            edges={name: fill_missing(score[both])[0] for name, score in self.edges.items()},
            features={name: values[kept] for name, values in self.features.items()},
        )


def scored_by(edges: Sequence[EdgeMatrix], features: pd.DataFrame) -> Scored:
    """Edge scores under their names, with variance, mean and 1 - dropout of the same genes.

    Parameters
    ----------
    features
        From `cells.features.gene_features`; may hold further genes.

    Raises
    ------
    NothingToCalibrateError
        If there is no edge score, two are over different genes or cells, or a gene has no features.
    """
    if not edges:
        raise NothingToCalibrateError("no edge score to calibrate; give correlation at least.")
    genes, cells = edges[0].genes, edges[0].cells_hash
    for other in edges[1:]:
        if other.cells_hash != cells or not np.array_equal(other.genes, genes):
            raise NothingToCalibrateError(
                f"{other.name} and {edges[0].name} are over different genes or cells; restrict both to the same."
            )
    unknown = np.setdiff1d(genes, features.index.to_numpy(dtype=np.str_))
    if unknown.size:
        raise NothingToCalibrateError(f"{unknown.size} scored genes have no features, such as {str(unknown[0])!r}.")
    known = features.loc[genes.tolist()]
    values = {"variance": known["variance"], "mean": known["mean"], "one_minus_dropout": 1.0 - known["dropout"]}
    return Scored(
        genes=genes,
        edges={edge.name: np.asarray(edge.score, dtype=np.float64) for edge in edges},
        features={name: column.to_numpy(dtype=np.float64) for name, column in values.items()},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Null:
    """Cells of non-targeting guides, one guide each: log matrix cells x genes, guide of every cell, guide names."""

    log: csr_matrix
    guide: NDArray[np.int64]
    names: NDArray[np.str_]


def null_calibration(cells: PreparedCells, scored: Scored, settings: CalibrationSettings) -> Calibration:
    """Distribution of the p-values of the battery's tests on non-targeting guides.

    Tests: differential expression itself (p of the pretended genes; all pairs for the observed guides); one-sided
    signed-rank of AUROC against .5 for each edge score (analysis 19); paired signed-rank of each gene-level feature
    against each edge score (21); of each two edge scores (22). The unit is the guide.

    Raises
    ------
    NothingToCalibrateError
        If a scored gene is not measured, too few guides have enough cells, or too few genes are detected.
    """
    null = null_cells(cells, scored.genes, settings)
    rng = np.random.default_rng([settings.seed, len(null.names)])
    observed = _p_values(null, null.guide)
    shuffles = [_p_values(null, rng.permutation(null.guide)) for _ in range(settings.replicates)]
    seen = detected_genes(null, settings)
    frames, rows = [], []
    for gene_set, labels in product(("detected", "all"), LABELS):
        kept = seen if gene_set == "detected" else np.ones(seen.size, dtype=bool)
        runs, part = np.stack([each[labels][:, kept] for each in shuffles]), scored.only(kept)
        p = {"shuffled": _independent(runs, part, settings, rng)}
        found = {"shuffled": {test: _calibrated(test, own, rng) for test, own in p["shuffled"].items()}}
        if gene_set == "detected":
            real = _drawn(observed[labels][:, kept], part, settings, rng)
            others = [_drawn(run, part, settings, rng) for run in runs[: settings.references]]
            p["observed"], found["observed"] = real, _alike(real, others, found["shuffled"])
        for assignment, tests in found.items():
            for test, judged in tests.items():
                own, keys = p[assignment][test].ravel(), _keys(test, labels, gene_set, assignment)
                frames.append(pd.DataFrame({**keys, "replicate": np.arange(own.size), "p": own}))
                about = {**keys, "guides": len(null.names), "n_genes": int(kept.sum()), "replicates": own.size}
                rows.append(about | _judgement(judged, assignment, settings))
    return Calibration(p=pd.concat(frames, ignore_index=True), summary=pd.DataFrame(rows))


def _keys(test: Test, labels: str, gene_set: str, assignment: str) -> dict[str, str]:
    """What identifies one calibrated test; ``test`` says it all in one line."""
    analysis, scores = test
    named = {DE: f"{NAMES[labels]} p of a gene", "19": f"AUROC of {scores} above .5"}.get(analysis, scores)
    told = {
        f"genes called by {NAMES[labels]}": analysis != DE and labels != LABELS[0],
        "rare genes too": gene_set == "all",
        "guides as they are": assignment == "observed",
    }
    extra = ", ".join(words for words, holds in told.items() if holds)
    return {
        "test": f"{named} ({extra})" if extra else named,
        "analysis": analysis,
        "scores": scores,
        "labels": labels,
        "genes": gene_set,
        "assignment": assignment,
    }


def null_cells(cells: PreparedCells, genes: NDArray[np.str_], settings: CalibrationSettings) -> Null:
    """Cells with exactly one non-targeting guide, of guides with enough such cells."""
    at = positions(cells.genes, genes)
    if (at < 0).any():
        raise NothingToCalibrateError(
            f"dataset {cells.dataset!r}: {int((at < 0).sum())} scored genes are not measured, such as "
            f"{str(genes[at < 0][0])!r}. Score measured genes only."
        )
    if cells.guide_table is None or not (cells.guide_table["kind"] == NON_TARGETING).any():
        raise NothingToCalibrateError("its guide table has no non-targeting guide")
    names, held = guide_holders(cells, NON_TARGETING, "guide")
    alone = np.flatnonzero(np.asarray(held.sum(axis=0)).ravel() == 1)
    guide = np.asarray(held[:, alone].argmax(axis=0)).ravel()
    enough = np.bincount(guide, minlength=names.size) >= settings.min_cells
    if int(enough.sum()) < settings.min_guides:
        raise NothingToCalibrateError(
            f"dataset {cells.dataset!r}: {int(enough.sum())} non-targeting guides have {settings.min_cells} cells of "
            f"their own; {settings.min_guides} are needed."
        )
    kept = enough[guide]
    renumbered = np.cumsum(enough) - 1
    return Null(log=cells.log[alone[kept]][:, at], guide=renumbered[guide[kept]], names=names[enough])


def detected_genes(null: Null, settings: CalibrationSettings) -> NDArray[np.bool_]:
    """Genes of which the smallest guide is expected to have enough detecting cells."""
    smallest = np.bincount(null.guide).min()
    seen = detection(null.log) * smallest >= settings.detecting_cells
    least = 4 * settings.min_positives
    if int(seen.sum()) < least:
        raise NothingToCalibrateError(
            f"{int(seen.sum())} genes are expected in {settings.detecting_cells:g} of {smallest} cells; "
            f"{least} are needed."
        )
    return seen


def _p_values(null: Null, guide: NDArray[np.int64]) -> dict[str, Float]:
    """P of every gene for every guide against the cells of the other guides, guides x genes, by test."""
    guides = len(null.names)
    none = np.full(guides, -1)
    return {
        "welch": expression_against_the_rest(null.log, membership(guide, guides), none).p,
        "mann_whitney": ranks_against_the_rest(null.log, guide, guides, none).p,
    }


def _independent(
    shuffles: Float, scored: Scored, settings: CalibrationSettings, rng: np.random.Generator
) -> dict[Test, Float]:
    """P-values of shuffled guides, R x guides x genes: of the pretended genes R x guides, of the battery R at most."""
    runs, guides, genes = shuffles.shape
    source = rng.integers(0, genes, (runs, guides))
    own = np.take_along_axis(shuffles, source[:, :, None], axis=2)
    return {(DE, DE): own[:, :, 0], **_battery(shuffles, source, None, scored, settings)}


def _calibrated(test: Test, p: Float, rng: np.random.Generator) -> Uniformity | None:
    """Whether the p-values of shuffled guides are uniform; the guides of one shuffle are no independent replicates."""
    if not p.size:
        return None
    return clustered_uniformity(p, rng) if test == (DE, DE) else independent_uniformity(p)


def _alike(
    real: Mapping[Test, Float],
    references: Sequence[Mapping[Test, Float]],
    calibrated: Mapping[Test, Uniformity | None],
) -> dict[Test, Uniformity | None]:
    """Whether the observed guides give p-values like shuffled ones; uniform only if those are."""
    found: dict[Test, Uniformity | None] = {}
    for test, p in real.items():
        others, judged = [reference[test] for reference in references], calibrated[test]
        if judged is None or not p.size or not all(other.size for other in others):
            found[test] = None
            continue
        alike = dependent_uniformity(p, others)
        found[test] = replace(alike, uniform=alike.uniform and judged.uniform, valid=alike.valid and judged.valid)
    return found


def _drawn(p: Float, scored: Scored, settings: CalibrationSettings, rng: np.random.Generator) -> dict[Test, Float]:
    """One assignment of guides to cells: random halves of the guides with random pretended genes."""
    guides, genes = p.shape
    half = np.stack([rng.permutation(guides)[: guides // 2] for _ in range(settings.draws)])
    source = rng.integers(0, genes, (settings.draws, guides))
    repeated = np.broadcast_to(p, (settings.draws, guides, genes))
    return {(DE, DE): p.ravel(), **_battery(repeated, source, half, scored, settings)}


def _battery(
    p: Float,
    source: NDArray[np.int64],
    chosen: NDArray[np.int64] | None,
    scored: Scored,
    settings: CalibrationSettings,
) -> dict[Test, Float]:
    """P-values of analyses 19, 21 and 22, one a replicate, of p-values replicates x guides x genes."""
    replicates, guides, genes = p.shape
    label = (p < settings.nominal).astype(np.int8)
    np.put_along_axis(label, source[:, :, None], -1, axis=2)
    label = label.reshape(-1, genes)
    enough = np.minimum((label == 1).sum(axis=1), (label == 0).sum(axis=1)) >= settings.min_positives
    edges = {name: rank_rows(score[source.ravel()]).auroc(label) for name, score in scored.edges.items()}
    features = {name: rank_rows(values).auroc(label) for name, values in scored.features.items()}
    differences: dict[Test, Float] = {("19", name): values - 0.5 for name, values in edges.items()}
    for edge, values in edges.items():
        differences |= {("21", f"{name} - {edge}"): feature - values for name, feature in features.items()}
    differences |= {("22", f"{a} - {b}"): edges[a] - edges[b] for a, b in combinations(edges, 2)}
    rows = np.arange(replicates * guides).reshape(replicates, guides)
    taken = rows if chosen is None else np.take_along_axis(rows, chosen, axis=1)
    units = [row[enough[row]] for row in taken]
    return {
        test: np.array(
            [
                signed_rank(values[unit], "greater" if test[0] == "19" else "two-sided").p
                for unit in units
                if unit.size >= FEWEST_UNITS
            ]
        )
        for test, values in differences.items()
    }


def _judgement(found: Uniformity | None, assignment: str, settings: CalibrationSettings) -> dict[str, object]:
    if found is None:
        return dict.fromkeys(SUMMARY, np.nan) | {"uniform": False, "valid": False, "note": NOT_EVALUABLE}
    numbers = {column: getattr(found, field) for column, field in SUMMARY.items()}
    return numbers | {"note": NOTES[assignment].format(references=settings.references)}
