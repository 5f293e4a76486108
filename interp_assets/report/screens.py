"""The screens of a study side by side, for the terminal and as a Markdown page, from stored tables alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from interp_assets.analyses.screens import Basis
from interp_assets.figures.wording import LEVEL_LABELS, is_missing
from interp_assets.report.markdown import header, line, plain
from interp_assets.report.pairwise_page import PAIRWISE_TABLES, pairwise_lines
from qc_standards.registry import declared_tests

if TYPE_CHECKING:
    from rich.table import Table

TABLES = (
    *("screen_scores", "screen_evaluability", "screen_losses", "modality_audit", "null_calibration_summary"),
    *PAIRWISE_TABLES,
)
SCORES = {
    "variance": "variance",
    "mean": "mean",
    "one_minus_dropout": "1 - dropout",
    "tf_out_degree": "TF out-degree",
    "de_rate": "DE rate elsewhere",
    "correlation": "correlation",
    "rank_distance": "rank distance",
    "co_detection": "co-detection",
}
SUBSETS = {
    "all": "All candidates",
    "informative": "Informative genes: those with both labels among training perturbations",
    "expression_matched": "Expression-matched negatives: each positive beside a negative of like mean expression",
}
UNEVALUATED = "-"
NAME_WIDTH = 32
BATTERY_NOTE = (
    "Hypotheses in the published wording. Where it names a dataset, the column data says what was read instead; where "
    "it names layer L13, each release is read in its own frozen layer. Method, null, p and q of every row are in the "
    "report of the release."
)
OWN_NOTE = (
    "Columns of this table differ in perturbations and candidates and may not be compared with each other; it shows "
    "what the tables above leave out."
)


@dataclass(frozen=True, slots=True)
class ScreenResults:
    """Stored screen tables of several releases in one study, by release."""

    study: str
    tables: Mapping[str, Mapping[str, pd.DataFrame]]

    @property
    def releases(self) -> tuple[str, ...]:
        """Releases with stored tables, in the order given."""
        return tuple(self.tables)

    def any_of(self, name: str) -> pd.DataFrame:
        """A table that does not depend on the release, from the first that has it; empty where none does."""
        return next((tables[name] for tables in self.tables.values() if name in tables), pd.DataFrame())

    def of(self, release: str, name: str) -> pd.DataFrame:
        """A table of one release; empty where it was not written."""
        return self.tables[release].get(name, pd.DataFrame())


def read_screens(store: Path, study: str, releases: Iterable[str]) -> ScreenResults:
    """Screen tables of the releases that have them in ``store/<study>``."""
    found: dict[str, dict[str, pd.DataFrame]] = {}
    for release in releases:
        folder = store / study / release / "tables"
        files = {name: folder / f"{name}.parquet" for name in TABLES}
        files["tests"] = folder.parent / "tests.parquet"
        tables = {name: pd.read_parquet(file) for name, file in files.items() if file.is_file()}
        if tables:
            found[release] = tables
    return ScreenResults(study, found)


def reach_table(results: ScreenResults) -> Table:
    """Terminal table: perturbations and pairs each kind of score can be held against, by screen."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(f"Study {results.study}: what could be scored (perturbations with an AUROC, pairs behind them)"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=0,
    )
    for name in ("screen", "listed", *LEVEL_LABELS.values()):
        table.add_column(name, overflow="fold", no_wrap=name == "screen", max_width=NAME_WIDTH)
    for dataset, rows in _by_dataset(results.any_of("screen_evaluability")):
        cells = [Text(_count(rows[kind]) if kind in rows else UNEVALUATED) for kind in ("gene_level", "pairwise")]
        table.add_row(Text(dataset), Text(_listed(rows)), *cells, Text(_attention_reach(results, dataset)))
    return table


def _attention_reach(results: ScreenResults, dataset: str) -> str:
    """What attention reaches, one text where all releases reach the same."""
    counts = []
    for release in results.releases:
        rows = dict(_by_dataset(results.of(release, "screen_evaluability"))).get(dataset, {})
        counts.append(_count(rows["attention"]) if "attention" in rows else UNEVALUATED)
    distinct = list(dict.fromkeys(counts))
    return (
        distinct[0]
        if len(distinct) == 1
        else "; ".join(f"{r}: {c}" for r, c in zip(results.releases, counts, strict=True))
    )


def lost_lines(results: ScreenResults) -> Iterator[str]:
    """One line a screen: why its other perturbations have no AUROC of each kind of score.

    Attention is told as the first release reads it, and why another release reads none where the first does. A kind
    that loses what the one before it loses says so.
    """
    if not results.releases:
        return
    first, *others = (results.of(release, "screen_losses") for release in results.releases)
    for dataset, rows in first.groupby("dataset", sort=False) if len(first) else ():
        if told := _told(rows):
            yield f"{dataset} - {'; '.join(told)}"
    for release, losses in zip(results.releases[1:], others, strict=True):
        for dataset, found in _by_dataset(results.of(release, "screen_evaluability")):
            own, known = (_attention_reasons(table, dataset) for table in (losses, first))
            if "attention" in found and not found["attention"]["perturbations"] and own not in ("", known):
                yield f"{dataset} - attention of {release}: {own}"


def _told(rows: pd.DataFrame) -> list[str]:
    """Losses of one screen by kind of score; whatever is lost whole, with no count, in its own words."""
    told: list[str] = []
    before = ""
    for score, own in rows.groupby("score", sort=False):
        reasons = _reasons(own)
        if score in LEVEL_LABELS:
            told.append(f"{LEVEL_LABELS[str(score)]}: {'the same' if reasons == before else reasons}")
            before = reasons
        elif own["perturbations"].isna().all():
            told.append(reasons)
    return told


def _attention_reasons(losses: pd.DataFrame, dataset: str) -> str:
    if losses.empty:
        return ""
    return _reasons(losses[(losses["dataset"] == dataset) & (losses["score"] == "attention")])


def _reasons(rows: pd.DataFrame) -> str:
    return ", ".join(_loss(row) for row in rows.to_dict("records"))


def _loss(row: Mapping[Any, Any]) -> str:
    count = "" if is_missing(row["perturbations"]) else f" ({int(row['perturbations']):,})"
    return f"{row['reason']}{count}"


def _by_dataset(table: pd.DataFrame) -> Iterator[tuple[str, dict[str, Mapping[Any, Any]]]]:
    if table.empty:
        return
    for dataset, rows in table.groupby("dataset", sort=False):
        yield str(dataset), {str(row["score"]): row for row in rows.to_dict("records")}


def _listed(rows: Mapping[str, Mapping[Any, Any]]) -> str:
    first = next(iter(rows.values()))
    return f"{first['perturbations_listed']:,} / {first['pairs_listed']:,}"


def _count(row: Mapping[Any, Any]) -> str:
    return f"{row['scorable_perturbations']:,} / {row['scorable_pairs']:,}"


def screens_page(results: ScreenResults, command: str) -> str:
    """Markdown page: scores by screen with intervals, reach, losses, own-gene changes and null calibration."""
    parts = [
        f"# Screens of the study {results.study}",
        f"Generated by `{command}`; every number is computed, none is copied from a publication. Mean per-perturbation "
        "AUROC with a 95 % bootstrap interval over perturbations; *n* perturbations. The scores of one row share "
        "perturbations, candidates and cells. Small releases are demonstrations: they say nothing about full-size "
        "models.",
    ]
    for subset, title in SUBSETS.items():
        parts += _optional(f"## {title}", _score_lines(results, "common", subset))
    own = _score_lines(results, "own", "all")
    parts += _optional("## Each score on all that it reaches", [*own, "", OWN_NOTE] if own else [])
    parts += _optional("## Attention beside trivial pairwise scores", pairwise_lines(results.tables))
    parts += ["## What could be scored", "\n".join(_reach_lines(results))]
    parts += ["## Why the rest could not", "\n".join(f"- {told}" for told in lost_lines(results))]
    parts += _optional("## Did the perturbation do what its label says?", _modality_lines(results))
    parts += _optional("## p-values where nothing was perturbed", _calibration_lines(results))
    parts += _optional("## The declared tests", _battery_lines(results))
    return "\n\n".join(parts) + "\n"


def _optional(title: str, lines: Sequence[str]) -> list[str]:
    return [title, "\n".join(lines)] if lines else []


def _score_lines(results: ScreenResults, basis: Basis, subset: str) -> list[str]:
    """Markdown table of one gene subset: a row a screen, a column a score.

    On the common basis all columns share their perturbations; on its own basis each score says how many it has.
    """
    table = results.any_of("screen_scores")
    if table.empty:
        return []
    chosen = table[(table["basis"] == basis) & (table["subset"] == subset) & (table["n_perturbations"] > 0)]
    if chosen.empty:
        return []
    shared = basis == "common"
    names = [name for name in SCORES if name in set(chosen["score"])]
    titles = [SCORES[name] for name in names] + [f"attention {name}" for name in results.releases]
    lines = header(["screen", *(["n"] if shared else []), *titles])
    for dataset, rows in chosen.groupby("dataset", sort=False):
        by_score = {row["score"]: row for row in rows.to_dict("records")}
        found = [by_score.get(name) for name in names]
        found += [_attention(results, release, str(dataset), basis, subset) for release in results.releases]
        count = [str(rows["n_perturbations"].max())] if shared else []
        lines.append(line([str(dataset), *count, *(_value(row, counted=not shared) for row in found)]))
    return lines


def _attention(
    results: ScreenResults, release: str, dataset: str, basis: Basis, subset: str
) -> Mapping[Any, Any] | None:
    table = results.of(release, "screen_scores")
    mine = table[
        (table["basis"] == basis)
        & (table["subset"] == subset)
        & (table["score"] == "attention")
        & (table["dataset"] == dataset)
    ]
    return mine.iloc[0].to_dict() if len(mine) else None


def _value(row: Mapping[Any, Any] | None, *, counted: bool) -> str:
    if row is None or is_missing(row["mean_auroc"]):
        return UNEVALUATED
    number = f" n {row['n_perturbations']}" if counted else ""
    if is_missing(row["ci_low"]):
        return f"{row['mean_auroc']:.3f}{number}"
    return f"{row['mean_auroc']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]{number}"


def _reach_lines(results: ScreenResults) -> list[str]:
    rows = list(_by_dataset(results.any_of("screen_evaluability")))
    kinds = list(dict.fromkeys(kind for _, found in rows for kind in found))
    lines = header(["screen", "listed", *(LEVEL_LABELS.get(kind, kind) for kind in kinds)])
    for dataset, found in rows:
        reached = (_count(found[kind]) if kind in found else UNEVALUATED for kind in kinds)
        lines.append(line([dataset, _listed(found), *reached]))
    note = (
        "Perturbations with at least three positive and three negative candidates / candidate pairs behind them; "
        "attention as read by " + (results.releases[0] if results.releases else "no release") + "; the published "
        "tokenisers say what a release with that vocabulary could be held against."
    )
    return [*lines, "", note]


def _modality_lines(results: ScreenResults) -> list[str]:
    table = results.any_of("modality_audit")
    if table.empty:
        return []
    lines = header(["screen", "modality", "own gene measured", "agrees", "undecided", "disagrees"])
    for dataset, rows in table.groupby("dataset", sort=False):
        counts = rows["agrees"].value_counts()
        told = [str(int(counts.get(word, 0))) for word in ("yes", "undecided", "no")]
        lines.append(line([str(dataset), str(rows["modality"].iloc[0]), str(len(rows)), *told]))
    return lines


def _calibration_lines(results: ScreenResults) -> list[str]:
    """Tests on detected genes with shuffled guides, row by row, and a sentence on the other configurations."""
    table = results.any_of("null_calibration_summary")
    if table.empty:
        return []
    shown = (table["genes"] == "detected") & (table["assignment"] == "shuffled")
    lines = header(["test", "replicates", "share below .05", "KS distance", "limit", "uniform", "no excess of small p"])
    for row in table[shown].to_dict("records"):
        known = not is_missing(row["ks"])
        numbers = [f"{row[name]:.3f}" if known else UNEVALUATED for name in ("share_below_05", "ks", "ks_limit")]
        told = [("yes" if row[name] else "no") if known else "not evaluable" for name in ("uniform", "valid")]
        lines.append(line([str(row["test"]), str(row["replicates"]), *numbers, *told]))
    return [*lines, "", *_other_calibrations(table[~shown])]


def _battery_lines(results: ScreenResults) -> list[str]:
    """Every declared test that was run for some release: what it asks, on what data, and its effect by release."""
    run: dict[str, dict[str, Mapping[Any, Any]]] = {}
    for release in results.releases:
        tests = results.of(release, "tests")
        for row in tests[tests["status"] == "run"].to_dict("records") if len(tests) else []:
            run.setdefault(str(row["test_id"]), {})[release] = row
    if not run:
        return []
    lines = header(["test", "hypothesis", "data", "effect is", *results.releases])
    for spec in declared_tests():
        if spec.test_id in run:
            found = run[spec.test_id]
            effects = [_effect(found.get(release)) for release in results.releases]
            first = next(iter(found.values()))
            data = f"{first['dataset']} ({str(first['data_origin']).replace('_', '-')})"
            lines.append(line([spec.test_id, spec.hypothesis, data, str(first["effect_kind"]), *effects]))
    return [*lines, "", BATTERY_NOTE, "", *_idle_lines(results)]


def _idle_lines(results: ScreenResults) -> Iterator[str]:
    """Declared tests that the first release has no answer to, by reason."""
    tests = results.of(results.releases[0], "tests")
    idle = tests[tests["status"] != "run"] if len(tests) else tests
    if len(idle):
        yield f"Without an answer for {results.releases[0]}:"
        yield ""
    for reason, rows in idle.groupby("reason", sort=False) if len(idle) else ():
        yield f"- {', '.join(rows['test_id'])}: {plain(str(reason))}"


def _effect(row: Mapping[Any, Any] | None) -> str:
    if row is None or is_missing(row["effect"]):
        return UNEVALUATED
    interval = "" if is_missing(row["ci_low"]) else f" [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
    return f"{row['effect']:.3f}{interval}"


def _other_calibrations(table: pd.DataFrame) -> Iterator[str]:
    words = {
        ("detected", "observed"): "With the guides as they are",
        ("all", "shuffled"): "With rare genes too",
    }
    for keys, start in words.items():
        for labels, rows in table.groupby("labels", sort=False):
            mine = rows[(rows["genes"] == keys[0]) & (rows["assignment"] == keys[1])]
            if len(mine):
                name = str(labels).replace("_", "-").title()
                yield f"{start}, genes called by {name}: {int(mine['uniform'].sum())} of {len(mine)} tests uniform. "
