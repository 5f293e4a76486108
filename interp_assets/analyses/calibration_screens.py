"""Scored pairs of perturbation screens for analysis 9, split by perturbation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.inputs import CellSample
from interp_assets.stats.calibration import CALIBRATE, FIT, TEST, split_parts
from interp_assets.stats.expression_scorers import SCORERS, expression_scores

TRUTH_Q: Final = 0.05
TRUTH_FOLD: Final = 0.1
PERMISSIVE: Final = "q < .05 and |natural log fold| > .1"
PUBLISHED: Final = "labels as the screen publishes them"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Candidate pairs (N) of one screen or several: scores by name, label 0 or 1, and the perturbed gene's code.

    ``names`` are the perturbed genes behind the codes; a gene that two screens perturb is one of them. ``screen`` says
    which of ``datasets`` a pair comes from. ``rules`` is the truth rule of each dataset.
    """

    name: str
    datasets: tuple[str, ...]
    rules: tuple[str, ...]
    scores: dict[str, NDArray[np.float64]]
    label: NDArray[np.int8]
    perturbation: NDArray[np.int64]
    screen: NDArray[np.int64]
    names: NDArray[np.str_]

    def where(self, mask: NDArray[np.bool_], name: str | None = None) -> Pairs:
        """The masked pairs, with codes that run from 0 again."""
        codes, inverse = np.unique(self.perturbation[mask], return_inverse=True)
        held = np.unique(self.screen[mask])
        return Pairs(
            name=self.name if name is None else name,
            datasets=tuple(self.datasets[k] for k in held),
            rules=tuple(self.rules[k] for k in held),
            scores={key: score[mask] for key, score in self.scores.items()},
            label=self.label[mask],
            perturbation=inverse.astype(np.int64),
            screen=np.searchsorted(held, self.screen[mask]).astype(np.int64),
            names=self.names[codes],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Pairs of one context in three parts that share no perturbation."""

    name: str
    whole: Pairs
    fit: Pairs
    calibrate: Pairs
    test: Pairs


def screen_pairs(sample: CellSample) -> Pairs | str:
    """Every candidate pair whose perturbed gene is measured, scored in the control cells; or why there is none.

    Truth is the permissive rule of paper section 5, analysis 9, where the screen states fold and q of its pairs; pairs
    without them are then no candidates. Else it is the label of the screen.
    """
    labels = sample.labels
    source = pd.Index(labels.genes).get_indexer(pd.Index(labels.perturbations))
    truth, rule = _truth(sample)
    truth[np.arange(source.size)[source >= 0], source[source >= 0]] = -1
    kept = np.flatnonzero((source >= 0) & (truth >= 0).any(axis=1))
    if kept.size == 0:
        return f"{sample.dataset}: no perturbed gene is measured and has candidate targets; its pairs have no score"
    place = pd.Index(sample.cells.genes).get_indexer(pd.Index(labels.genes))
    if (place < 0).any():
        raise ValueError(f"{sample.dataset}: {int((place < 0).sum())} genes of its outcomes are not among its cells'")
    values = sample.cells.log[np.flatnonzero(sample.cells.control)][:, place].toarray().astype(np.float64)
    if values.shape[0] < 3:
        return f"{sample.dataset}: {values.shape[0]} control cells; no score comes from fewer than 3"
    scores = expression_scores(values, np.asarray(source[kept], dtype=np.intp))
    row, column = np.nonzero(truth[kept] >= 0)
    return Pairs(
        name=sample.dataset,
        datasets=(sample.dataset,),
        rules=(rule,),
        scores={name: scores[name][row, column] for name in SCORERS},
        label=truth[kept][row, column],
        perturbation=row.astype(np.int64),
        screen=np.zeros(row.size, dtype=np.int64),
        names=np.asarray(labels.perturbations[kept]),
    )


def _truth(sample: CellSample) -> tuple[NDArray[np.int8], str]:
    """Truth of every pair (perturbations x genes; -1 no candidate) and the rule behind it."""
    labels, table = sample.labels, sample.labels.table
    given = np.array(labels.label, dtype=np.int8)
    if not {"lfc", "q"} <= set(table.columns) or not (table["lfc"].notna() & table["q"].notna()).any():
        return given, PUBLISHED
    row = pd.Index(labels.perturbations).get_indexer(pd.Index(table["perturbation"]))
    column = pd.Index(labels.genes).get_indexer(pd.Index(table["gene"]))
    known = (row >= 0) & (column >= 0) & (table["lfc"].notna() & table["q"].notna()).to_numpy(dtype=bool)
    truth = np.full(given.shape, -1, dtype=np.int8)
    called = (table["q"] < TRUTH_Q) & (table["lfc"].abs() > TRUTH_FOLD)
    truth[row[known], column[known]] = called.to_numpy(dtype=bool)[known]
    truth[given < 0] = -1
    return truth, PERMISSIVE


def pooled(parts: Sequence[Pairs]) -> Pairs:
    """Pairs of several screens under one name; perturbed genes are the same where their names are."""
    names, codes = np.unique(np.concatenate([one.names for one in parts]), return_inverse=True)
    starts = np.cumsum([0, *(one.names.size for one in parts)])
    return Pairs(
        name=" + ".join(one.name for one in parts),
        datasets=tuple(name for one in parts for name in one.datasets),
        rules=tuple(rule for one in parts for rule in one.rules),
        scores={name: np.concatenate([one.scores[name] for one in parts]) for name in SCORERS},
        label=np.concatenate([one.label for one in parts]),
        perturbation=np.concatenate(
            [codes[start + one.perturbation] for start, one in zip(starts, parts, strict=False)]
        ).astype(np.int64),
        screen=np.concatenate([np.full(one.label.size, k, dtype=np.int64) for k, one in enumerate(parts)]),
        names=names,
    )


def split_pairs(pairs: Pairs, rng: np.random.Generator, fewest: int) -> Split | str:
    """Fit, calibration and test part by perturbation, or why the screens are too small for three parts."""
    if pairs.names.size < fewest:
        return (
            f"{pairs.name}: {pairs.names.size} perturbed genes are measured; {fewest} are needed (min_perturbations) "
            "to fit, calibrate and test on different ones"
        )
    held = np.zeros((pairs.names.size, len(pairs.datasets)), dtype=bool)
    held[pairs.perturbation, pairs.screen] = True
    strata = np.unique(held, axis=0, return_inverse=True)[1].ravel()
    part = split_parts(strata, rng)[pairs.perturbation]
    parts = {name: pairs.where(part == code) for name, code in (("fit", FIT), ("calibrate", CALIBRATE), ("test", TEST))}
    for name, one in parts.items():
        if np.unique(one.label).size < 2:
            return f"{pairs.name}: the {name} part has no {'edge' if not one.label.any() else 'pair without an edge'}"
    return Split(name=pairs.name, whole=pairs, **parts)
