"""The paper's figures and tables in one evaluation: every entry has a state, and what is said to be there is there."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from steps import must

ENTRIES, TABLES = 45, 14
PAGE_BYTES = 5_000_000


def every_entry(folder: Path) -> None:
    """Entries of the paper in a results folder: none skipped whose analyses ran, files where drawn, else a reason."""
    entries = pd.read_csv(folder / "figures" / "entries.csv", keep_default_na=False)
    tables = int((entries["kind"] == "table").sum())
    must((len(entries), tables) == (ENTRIES + TABLES, TABLES), f"{folder}: {len(entries)} entries, {tables} tables")
    shown = entries["state"].isin(["drawn", "partly drawn"])
    for files in entries.loc[shown, "answered_by"]:
        absent = [file for file in files.split("; ") if not (folder / file).is_file()]
        must(bool(files) and not absent, f"{folder} lacks {', '.join(absent) or 'the files of a drawn entry'}")
    silent = entries.loc[(entries["state"] != "drawn") & (entries["lacking"] == ""), "entry"].tolist()
    must(not silent, f"{folder}: no reason why {', '.join(silent)} is not drawn")
    ran = _analyses_run(folder)
    for entry, analyses in entries.loc[~shown, ["entry", "analyses"]].itertuples(index=False):
        must(not set(analyses.split("; ")) <= ran, f"{folder}: {entry} is not drawn, but its analyses ran ({analyses})")
    size = (folder / "report.html").stat().st_size
    must(size < PAGE_BYTES, f"{folder / 'report.html'}: {size} bytes")
    print(f"{folder.name}: {int(shown.sum())} of {len(entries)} entries drawn, page of {size:,} bytes", flush=True)


def _analyses_run(folder: Path) -> set[str]:
    """Analyses with a row that was run, as the entries name them: 16, E4."""
    rows = pd.concat([pd.read_parquet(folder / name) for name in ("tests.parquet", "extended.parquet")])
    labels = rows.loc[rows["status"] == "run", "test_id"].str.split(".").str[0]
    return {label if label.startswith("E") else str(int(label[1:])) for label in labels}
