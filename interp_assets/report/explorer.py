"""Explorer of the report page: pick a regulator, a layer and a head, and see its targets by every score.

What belongs here: the tables of `interp_assets.analyses.explorer` as one compact data block for the page's script, and
what is shown without a script and on paper. What does not: any statistic; AUROC and ranks are those of the tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from interp_assets.figures import wording
from interp_assets.report.explorer_data import embedded, page_data, three_digits
from interp_assets.report.shown import StoredRow, aggregate, cell, constant, joined, listed, spaced, stated

if TYPE_CHECKING:
    from markupsafe import Markup

STORED = "results/explorer/"  # where the tables lie beside the page
STATIC_ROWS = 25  # what a person reads on paper
GENE_LEVEL = ("variance", "mean", "one_minus_dropout")
SCORES = ("attention", "correlation", *GENE_LEVEL)
WHY = {
    "listed": "listed",
    "responds": "responds in the screen",
    "attention": "strong attention",
    "drawn": "drawn at random",
}
DIRECTIONS = {1: "activates", -1: "represses", 2: "both signs"}
OUTCOMES = {1: "responds", 0: "does not respond"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRow:
    """One pair as words and numbers for reading."""

    target: str
    listed: str
    outcome: str
    change: str
    attention: str
    rank: str
    correlation: str
    variance: str
    mean: str
    one_minus_dropout: str
    cells: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplorerView:
    """What the section shows: the data block of the script, and the default regulator in words and as a table.

    ``reason`` says why there is nothing to explore; everything else is then empty.
    """

    reason: str = ""
    data: Markup | str = ""
    regulator: str = ""
    layer: str = ""
    said: str = ""
    rows: tuple[TargetRow, ...] = ()
    rows_of: str = ""
    chosen_by: str = ""
    origin: str = ""
    left_out: tuple[str, ...] = ()


def explorer_view(tables: Mapping[str, pd.DataFrame]) -> ExplorerView | None:
    """What the explorer shows, from tables ``explorer_<name>`` of an evaluation; None where there are none."""
    facts = tables.get("explorer_facts")
    if facts is None:
        return None
    told = StoredRow(STORED + "facts", 0, facts.iloc[0].to_dict())
    if "reason" in told.values:
        return ExplorerView(reason=stated(told.values["reason"], "results/explorer.json#/reason"))
    regulator = StoredRow(STORED + "regulators", 0, tables["explorer_regulators"].iloc[0].to_dict())
    rows = _rows(tables, str(regulator.values["regulator"]), int(told.values["read_layer"]))
    return ExplorerView(
        data=embedded(page_data(tables)),
        regulator=regulator.words("regulator"),
        layer=told.number("read_layer", str),
        said=_said(tables, str(regulator.values["regulator"]), int(told.values["read_layer"])),
        rows=rows[:STATIC_ROWS],
        rows_of=joined(
            *("the ", constant(f"{min(STATIC_ROWS, len(rows))}"), " genes with the strongest attention of "),
            *(regulator.number("shown", wording.count), " shown"),
        ),
        chosen_by=told.words("chosen_by"),
        origin=_origin(told),
        left_out=_left_out(tables, told),
    )


def _origin(told: StoredRow) -> str:
    """Data set, origin of its outcomes, cells behind the scores, and a mismatch of contexts if any."""
    mismatch = told.words("context_mismatch")
    return joined(
        *(told.words("dataset"), f": {wording.origin_label(told.values['data_origin'])}, "),
        *(told.number("cells", wording.count), " control cells", *(["; ", mismatch] if mismatch else [])),
    )


def _left_out(tables: Mapping[str, pd.DataFrame], told: StoredRow) -> tuple[str, ...]:
    """What the page does not show, in sentences."""
    why = tables["explorer_targets"]["why"].value_counts()

    def kind(name: str) -> str:
        place = {"table": STORED + "targets", "rows": "*", "column": "why", "how": f"count={name}"}
        return joined(aggregate(int(why[name]), wording.count(why[name]), **place), f" {_KINDS[name]}")

    def count(name: str) -> str:
        return told.number(name, wording.count)

    hidden = [". ", count("marked_left_out"), " more listed or responding genes are left out, by lot"]
    lines = [
        joined(
            *("Regulators: ", count("regulators_shown"), " of ", count("regulators")),
            " that a network lists or whose perturbation changed a gene; first those that the screen perturbed and the "
            "primary network lists, most targets first.",
        ),
        joined(
            *("Genes: ", count("pairs"), " pairs of a regulator with a gene, "),
            listed([kind(name) for name in _KINDS if why.get(name)]),
            *(hidden if told.values["marked_left_out"] else []),
            ".",
        ),
        joined(
            *("Ranks and AUROC count every other gene of the ", count("genes")),
            " evaluable ones, shown or not. Values have three significant digits.",
        ),
    ]
    if not told.values["heads_kept"]:
        lines.append(joined("Single heads are not shown: ", told.words("heads_reason"), "."))
    return tuple(lines)


_KINDS = {
    "listed": "listed genes",
    "responds": "genes that respond in the screen",
    "attention": "of the strongest attention besides them",
    "drawn": "drawn at random from the rest",
}


def _said(tables: Mapping[str, pd.DataFrame], regulator: str, layer: int) -> str:
    """Sentence for the default choice; `explorer.js` writes the same for every choice."""
    reference = StoredRow(STORED + "references", 0, tables["explorer_references"].iloc[0].to_dict())
    outcome, name = reference.values["kind"] == "outcome", reference.values["reference"]
    found = tables["explorer_recovery"]
    own = found[(found["regulator"] == regulator) & (found["reference"] == name) & (found["head"] < 0)]
    read = own[(own["score"] != "attention") | (own["layer"] == layer)]
    stored = {
        row["score"]: StoredRow(STORED + "recovery", place, row)
        for place, row in zip(read.index, read.to_dict("records"), strict=True)
    }
    network = joined("the network “", reference.words("reference", spaced), "”")
    named = stored["attention"].words("regulator")
    if wording.is_missing(stored["attention"].values["auroc"]):
        if outcome:
            return joined("Nothing to rank: the screen did not perturb ", named, ", or its genes all answer alike.")
        return joined("Nothing to rank: ", network, " lists no gene for ", named, ", or every one.")
    others = [piece for score in SCORES[1:] for piece in ("; ", _NAMES[score], " ", stored[score].number("auroc"))][1:]
    best = max(SCORES, key=lambda score: round(float(stored[score].values["auroc"]), 3))
    return joined(
        *("In layer ", cell(layer, str(layer), table=STORED + "facts", row=0, column="read_layer")),
        *(" (mean over heads), attention ranks the ", stored["attention"].number("n_targets", wording.count)),
        *((" genes that respond when ", named, " is perturbed") if outcome else ()),
        *(() if outcome else (" genes that ", network, " lists for ", named)),
        *(", among ", stored["attention"].number("n_candidates", wording.count), " candidates, at AUROC "),
        *(stored["attention"].number("auroc"), ". For comparison: ", *others),
        *(". Highest here: ", _NAMES[best], ". Chance is ", constant("0.500"), "."),
        "" if reference.values["directed"] else f" {UNDIRECTED}",
    )


UNDIRECTED = "This network states no direction: its ranks and AUROC are those of the mean of both directions."
_NAMES = {
    "attention": "attention",
    "correlation": "correlation (|Spearman|)",
    "variance": "target variance alone",
    "mean": "target mean expression alone",
    "one_minus_dropout": constant("target 1 - dropout alone"),
}


def _rows(tables: Mapping[str, pd.DataFrame], regulator: str, layer: int) -> tuple[TargetRow, ...]:
    """Every shown target of a regulator, the strongest attention of the layer first."""
    pairs = tables["explorer_targets"]
    pairs = pairs[pairs["regulator"] == regulator]
    scores = tables["explorer_scores"]
    scores = scores[(scores["regulator"] == regulator) & (scores["head"] < 0)]
    of = {name: scores[(scores["score"] == name) & scores["layer"].isin([-1, layer])] for name in SCORES}
    order = np.argsort(of["attention"]["rank"].to_numpy(), kind="stable")
    networks = _networks(tables, regulator)
    return tuple(_row(pairs, of, int(at), networks) for at in order)


def _row(pairs: pd.DataFrame, of: Mapping[str, pd.DataFrame], at: int, networks: Mapping[str, str]) -> TargetRow:
    pair = StoredRow(STORED + "targets", pairs.index[at], pairs.iloc[at].to_dict())
    score = {name: StoredRow(STORED + "scores", of[name].index[at], of[name].iloc[at].to_dict()) for name in SCORES}
    return TargetRow(
        target=pair.words("target"),
        listed=networks.get(str(pair.values["target"]), wording.MISSING),
        outcome=OUTCOMES.get(int(pair.values["outcome"]), wording.MISSING),
        change=pair.number("lfc", three_digits),
        rank=score["attention"].number("rank", "{:g}".format),
        correlation=pair.number("signed_correlation", three_digits),
        cells=pair.number("cells_behind", wording.count),
        why=WHY[str(pair.values["why"])],
        **{name: score[name].number("value", three_digits) for name in ("attention", *GENE_LEVEL)},
    )


def _networks(tables: Mapping[str, pd.DataFrame], regulator: str) -> dict[str, str]:
    """By target: the networks that list the pair, each with its sign where it states one."""
    found = tables["explorer_listed"]
    found = found[found["regulator"] == regulator]
    names: dict[str, list[str]] = {}
    for place, row in zip(found.index, found.to_dict("records"), strict=True):
        sign = DIRECTIONS.get(int(row["direction"]), "")
        name = StoredRow(STORED + "listed", place, row).words("reference", spaced)
        names.setdefault(str(row["target"]), []).append(joined(name, f" ({sign})" if sign else ""))
    return {target: listed(each) for target, each in names.items()}
