"""The leaderboard and the summary of a store, read from the result folders that are there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from interp_assets.report.claims_board import claim_rows, claims_board
from interp_assets.report.index import leaderboard, leaderboard_row
from interp_assets.report.screens import lost_lines, reach_table, read_screens
from interp_assets.report.terminal import next_steps, sayings, verdict_table

if TYPE_CHECKING:
    from rich.console import Console


class StoredTables(Mapping[str, pd.DataFrame]):
    """Tables of one result folder by name, each read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self._files = {path.stem: path for path in sorted(folder.glob("*.parquet"))}
        self._read: dict[str, pd.DataFrame] = {}

    def __getitem__(self, name: str) -> pd.DataFrame:
        """Table of that name."""
        if name not in self._read:
            self._read[name] = pd.read_parquet(self._files[name])
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        """Names of the tables."""
        return iter(self._files)

    def __len__(self) -> int:
        """Number of tables."""
        return len(self._files)


def stored_leaderboard(store: Path, studies: Sequence[str]) -> pd.DataFrame:
    """Leaderboard of every judged release in the store; folders without a verdict are no results yet."""
    return leaderboard(row for study in studies for row in _rows(store, study))


def stored_claims(store: Path, studies: Sequence[str]) -> pd.DataFrame:
    """Claims board of every judged release, control and twin in the store (`claims_board.claims_board`)."""
    return claims_board(row for study in studies for row in _claim_rows(store, study))


def stored_changes(store: Path) -> pd.DataFrame | None:
    """Rows of ``verdict_changes``; None where nothing was compared yet."""
    path = store / "verdict_changes.parquet"
    return pd.read_parquet(path) if path.is_file() else None


def _claim_rows(store: Path, study: str) -> Iterator[dict[str, Any]]:
    for verdict_file in sorted((store / study).glob("*/verdict.json")):
        folder = verdict_file.parent
        documents = {name: _read(folder / f"{name}.json") for name in ("verdict", "claims")}
        yield from claim_rows(study, folder.name, documents, StoredTables(folder / "tables"))


def _rows(store: Path, study: str) -> Iterator[dict[str, Any]]:
    for verdict_file in sorted((store / study).glob("*/verdict.json")):
        folder = verdict_file.parent
        documents = {name: _read(folder / f"{name}.json") for name in ("verdict", "claims", "standards")}
        tables = StoredTables(folder / "tables")
        verdict = documents["verdict"] | {"criteria": documents["claims"]["criteria"]}
        said = folder / "statement.json"  # absent where an evaluation was judged before there were statements
        in_short = str(_read(said)["in_short"]) if said.is_file() else ""
        yield leaderboard_row(study, folder.name, verdict, documents["standards"]["standards"], tables, in_short)


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def print_summary(console: Console, store: Path, study: str, releases: Sequence[str]) -> None:
    """Print the verdict table of one study, its screens, what to do next, and where the reports lie."""
    from rich.text import Text

    board = stored_leaderboard(store, (study,))
    console.print(verdict_table(board))
    console.print()
    results = read_screens(store, study, releases)
    if len(results.any_of("screen_evaluability").get("dataset", pd.Series(dtype=str)).unique()) > 1:
        console.print(reach_table(results))
        console.print()
        lost = list(lost_lines(results))
        for line in lost:
            console.print(Text(line))
        if lost:
            console.print()
    for line in sayings(board):
        console.print(line)
    for line in next_steps(board):
        console.print(line)
    for release in releases:
        console.print(f"report: {store / study / release / 'report.html'}", highlight=False, soft_wrap=True)
    console.print(f"index:  {store / 'index.html'}", highlight=False, soft_wrap=True)
