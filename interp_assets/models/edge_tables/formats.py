"""What the columns of an edge table mean: the layouts of known methods, and what a release may state instead.

What belongs here: names of columns and the rule that comes with each. What does not: opening files (`files`), or
applying the rules to rows (`rows`).

A layout is recognised by its columns; what a release states under ``columns`` and ``table`` in ``release.json``
overrides it. Nothing is guessed: columns that fit two layouts, or none, are refused with what was found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

Strength = Literal["as given", "absolute"]
Direction = Literal["higher", "lower"]
Repeats = Literal["refuse", "max"]

ROLES: Final = ("source", "target", "score", "sign", "cells")
# What ``table`` in release.json may state, and the words it may use; ``place`` is free text.
SETTINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "direction": ("higher", "lower"),
    "strength": ("as given", "absolute"),
    "repeats": ("refuse", "max"),
    "rows": ("source", "target"),
    "place": (),
}
_SMALLER = re.compile(r"(p|pvals?|pvalues?|padj|adjp.*|fdr|fwer|q|qvals?|qvalues?|evalue|.*rank|.*distance|dist)")
_SMALLER_END = re.compile(r".*(pval|pvalue|pvalueadj|padj|fdr|qval|qvalue)")


class EdgeTableError(ValueError):
    """An edge table that cannot be judged; names the file, the rule and the way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Which columns of a table are read, and how.

    ``sign`` names a column whose sign is that of the edge, or two yes/no columns (stimulation, inhibition); ``""``
    where none states one. ``directed`` names a yes/no column; rows that answer no have no regulator and are left out.
    ``strength`` "absolute" scores the size of the value and keeps its sign apart. ``direction`` "lower" scores minus
    the value. ``repeats`` "max" keeps the best of several rows of a pair. ``stated``: the release states the strength.
    """

    method: str
    source: str
    target: str
    score: str
    sign: str | tuple[str, str] = ""
    cells: str = ""
    directed: str = ""
    strength: Strength = "as given"
    direction: Direction = "higher"
    repeats: Repeats = "refuse"
    stated: bool = False

    @property
    def read(self) -> tuple[str, ...]:
        """Columns that are read, each once."""
        signs = self.sign if isinstance(self.sign, tuple) else (self.sign,)
        wanted = (self.source, self.target, self.score, *signs, self.cells, self.directed)
        return tuple(dict.fromkeys(name for name in wanted if name))

    @property
    def score_rule(self) -> str:
        """How the score is made from its column, in words."""
        value = f"size of {self.score}" if self.strength == "absolute" else self.score
        return f"minus {value} (smaller is better)" if self.direction == "lower" else value


# Optional columns (sign, cells, directed) are read where they are present. Names are compared without case.
KNOWN: Final[tuple[Layout, ...]] = (
    Layout(method="edge table", source="source", target="target", score="score", sign="sign", cells="cells"),
    Layout(
        method="GENIE3, GRNBoost2 or pySCENIC adjacencies",
        source="TF",
        target="target",
        score="importance",
        sign="regulation",
    ),
    Layout(method="GENIE3 link list", source="regulatoryGene", target="targetGene", score="weight"),
    # One row a region: the importance of TF and gene is the same in each; extended and direct eRegulons may differ.
    Layout(
        method="SCENIC+ eRegulons", source="TF", target="Gene", score="importance_TF2G", sign="rho_TF2G", repeats="max"
    ),
    Layout(
        method="SCENIC+ eRegulons", source="TF", target="Gene", score="TF2G_importance", sign="TF2G_rho", repeats="max"
    ),
    Layout(
        method="decoupler, CollecTRI or geneRNIB", source="source", target="target", score="weight", strength="absolute"
    ),
    Layout(
        method="decoupler, CollecTRI or DoRothEA", source="tf", target="target", score="weight", strength="absolute"
    ),
    Layout(method="decoupler or DoRothEA", source="source", target="target", score="mor", strength="absolute"),
    Layout(method="decoupler or DoRothEA", source="tf", target="target", score="mor", strength="absolute"),
    Layout(method="CellOracle links", source="source", target="target", score="coef_abs", sign="coef_mean"),
    Layout(
        method="OmniPath interactions",
        source="source_genesymbol",
        target="target_genesymbol",
        score="curation_effort",
        sign=("consensus_stimulation", "consensus_inhibition"),
        directed="is_directed",
        repeats="max",
    ),
)


def smaller_is_better(column: str) -> bool:
    """Whether a column's name says that small values are the good ones: p, q, FDR, rank, distance.

    >>> [smaller_is_better(name) for name in ("p_value", "triplet_rank", "padj", "-logp", "neg_log10_fdr")]
    [True, True, True, False, False]
    """
    if re.match(r"[\W_]*(-|neg|minus|log|x\.log)", column.casefold()):
        return False
    plain = re.sub(r"[\W_]+", "", column.casefold())
    return bool(_SMALLER.fullmatch(plain) or _SMALLER_END.fullmatch(plain))


def recognise(columns: Sequence[str]) -> Layout | None:
    """Layout whose source, target and score are among the columns, under the table's own names; None if there is none.

    Raises
    ------
    EdgeTableError
        If several layouts fit and read different columns, or a needed name stands there twice.
    """
    found: dict[tuple[str, str, str], Layout] = {}
    for known in KNOWN:
        layout = _named_as(known, columns)
        if layout is not None:
            found.setdefault((layout.source, layout.target, layout.score), layout)
    if len(found) > 1:
        read = "; ".join(f"{layout.method} ({' -> '.join(key[:2])}, {key[2]})" for key, layout in found.items())
        raise EdgeTableError(
            f"the columns fit several layouts: {read}; found: {listed(columns)}. State which are meant: {HOW_TO_MAP}"
        )
    return next(iter(found.values()), None)


def _named_as(known: Layout, columns: Sequence[str]) -> Layout | None:
    needed = [_column(name, columns) for name in (known.source, known.target, known.score)]
    source, target, score = needed
    if not (source and target and score):
        return None
    for name in (source, target, score):
        _once(name, columns)
    if isinstance(known.sign, tuple):
        pair = [_column(name, columns) for name in known.sign]
        sign: str | tuple[str, str] = (pair[0], pair[1]) if all(pair) else ""
    else:
        sign = _column(known.sign, columns)
    return replace(
        known,
        source=source,
        target=target,
        score=score,
        sign=sign,
        cells=_column(known.cells, columns),
        directed=_column(known.directed, columns),
    )


def _column(name: str, columns: Sequence[str]) -> str:
    """The table's own spelling of a column, the exact one first; empty where it is absent."""
    if not name:
        return ""
    if name in columns:
        return name
    alike = [column for column in columns if column.casefold() == name.casefold()]
    if len(set(alike)) > 1:
        raise EdgeTableError(f"columns {', '.join(alike)} differ in case only; found: {listed(columns)}. {HOW_TO_MAP}")
    return alike[0] if alike else ""


def _once(name: str, columns: Sequence[str]) -> None:
    if list(columns).count(name) > 1:
        raise EdgeTableError(f"column {name} stands there more than once; found: {listed(columns)}. Keep one of them")


HOW_TO_MAP: Final = (
    'write "columns": {"source": "...", "target": "...", "score": "..."} into release.json '
    "(regulator, regulated gene, higher = more regulatory)"
)


def listed(columns: Iterable[str]) -> str:
    """Names of columns for a message, at most thirty."""
    names = [str(name) or "(unnamed)" for name in columns]
    shown = ", ".join(names[:30]) or "none"
    return f"{shown} and {len(names) - 30} more" if len(names) > 30 else shown


def stated_settings(facts: Mapping[str, Any]) -> dict[str, str]:
    """What a manifest states under ``table``, checked.

    Raises
    ------
    EdgeTableError
        If a key or a word is not one of `SETTINGS`.
    """
    stated = facts.get("table", {})
    if not isinstance(stated, Mapping):
        raise EdgeTableError("release.json: `table` must be an object")
    for key, word in stated.items():
        if key not in SETTINGS:
            raise EdgeTableError(f"release.json: `table` has no key {key!r}; it has {', '.join(SETTINGS)}")
        if not isinstance(word, str) or (SETTINGS[key] and word not in SETTINGS[key]):
            raise EdgeTableError(f"release.json: `table.{key}` is {word!r}; use one of {', '.join(SETTINGS[key])}")
    return {str(key): str(word) for key, word in stated.items()}


def layout_of(columns: Sequence[str], facts: Mapping[str, Any]) -> Layout | None:
    """Layout of a table: the stated mapping if there is one, else the recognised one, with the stated settings.

    Raises
    ------
    EdgeTableError
        If the mapping is incomplete or names absent columns, the columns are ambiguous, or the score is a column whose
        name says smaller is better and no direction is stated.
    """
    settings = stated_settings(facts)
    layout = _mapped(columns, facts["columns"]) if "columns" in facts else recognise(columns)
    if layout is None:
        return None
    layout = with_settings(layout, settings)
    if smaller_is_better(layout.score) and "direction" not in settings:
        raise EdgeTableError(
            f"column {layout.score} looks like one where smaller is better (a p-value, a rank, a distance); "
            'state it: "table": {"direction": "lower"} in release.json, or "higher" if it is not'
        )
    return layout


def with_settings(layout: Layout, settings: Mapping[str, str]) -> Layout:
    """The layout with what `stated_settings` found in the place of its own rules."""
    changes: Any = {key: settings[key] for key in ("direction", "strength", "repeats") if key in settings}
    return replace(layout, stated="strength" in settings, **changes)


def _mapped(columns: Sequence[str], stated: Any) -> Layout:
    if not isinstance(stated, Mapping) or not all(isinstance(name, str) for name in stated.values()):
        raise EdgeTableError(f"release.json: `columns` must map {', '.join(ROLES)} to names of columns; {HOW_TO_MAP}")
    unknown = sorted(set(map(str, stated)) - set(ROLES))
    lacking = [role for role in ROLES[:3] if not stated.get(role)]
    if unknown or lacking:
        problem = f"has no key {', '.join(unknown)}" if unknown else f"does not name {', '.join(lacking)}"
        raise EdgeTableError(f"release.json: `columns` {problem}; {HOW_TO_MAP}")
    absent = sorted({name for name in stated.values() if name and name not in columns})
    if absent:
        raise EdgeTableError(f"release.json: `columns` names {', '.join(absent)}; found: {listed(columns)}")
    named = [name for name in stated.values() if name]
    for name in named:
        _once(name, columns)
    if len({stated["source"], stated["target"], stated["score"]}) < 3:
        raise EdgeTableError(
            "release.json: `columns` names one column twice; source, target and score are three columns"
        )
    return Layout(method="columns stated in release.json", **{role: stated[role] for role in ROLES if stated.get(role)})
