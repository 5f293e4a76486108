"""What a verdict on real outcomes must show: every screen counted, nothing failed, and `docs` up to date."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
from steps import PROJECT, must


def on_real_outcomes(folder: Path, printed: str) -> None:
    """One release: nothing failed, rows that ran are real, and every screen of the study is counted in print."""
    name = folder.name
    verdict = json.loads((folder / "verdict.json").read_text())
    must(verdict["headline"]["data_origin"] == "real", f"{name}: bench is not on real outcomes")
    controls = pd.read_parquet(folder / "tables" / "control_outcomes.parquet")
    astray = controls.loc[~controls["behaves"].astype(bool), "control"].tolist()
    must(not astray, f"{name}: {', '.join(astray)} did not come out as it must, so that no verdict counts")
    tests = pd.read_parquet(folder / "tests.parquet")
    failed = tests.loc[tests["status"] == "failed", "test_id"].tolist()
    must(not failed, f"{name}: failed rows {', '.join(failed)}")
    run = tests[tests["status"] == "run"]
    measured = set(run.loc[run["dataset"] != "simulation", "data_origin"])
    must(measured == {"real"}, f"{name}: rows were run on {', '.join(sorted(map(str, measured)))} data")
    simulated = set(run.loc[run["dataset"] == "simulation", "data_origin"])
    must(simulated == {"simulated"}, f"{name}: simulated rows are called {simulated}")
    for number in (6, 7, 8, 28, 37):
        rows = run[run["test_id"].str.startswith(f"A{number:02d}.")]
        must(len(rows) > 0, f"{name}: no row of analysis {number} ran on real data")
    screens = pd.read_parquet(folder / "tables" / "screen_evaluability.parquet")["dataset"].unique()
    must(len(screens) >= 10, f"{name}: only {len(screens)} screens were counted")
    lost = [screen for screen in screens if screen not in printed]
    must(not lost, f"the terminal does not name {', '.join(lost)}")


def same_page(made: str) -> None:
    """`docs/results-bench.md` is what this evaluation gives: the same text, numbers within two thousandths."""
    number = re.compile(r"(?<![\w.])[-+]?\d+\.\d+(?:e[-+]\d+)?(?![\w.])")
    kept = (PROJECT / "docs" / "results-bench.md").read_text(encoding="utf-8")
    must(number.sub("#", made) == number.sub("#", kept), "docs/results-bench.md is out of date; export it again")
    pairs = zip(number.findall(made), number.findall(kept), strict=True)
    worst = max((abs(float(one) - float(other)) for one, other in pairs), default=0.0)
    print(f"docs/results-bench.md: numbers agree within {worst:.3f}", flush=True)
    must(worst <= 0.002, f"docs/results-bench.md differs by up to {worst:.3f}; export it again")
