"""The screens of a study in the terminal and as a page: counts as stored, reasons, no number that is not there."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from interp_assets.report.screens import lost_lines, reach_table, read_screens, screens_page


def score(dataset: str, name: str, mean: float, *, n: int = 30, basis: str = "common", subset: str = "all") -> dict:
    return {
        "role": "primary_screen",
        "dataset": dataset,
        "subset": subset,
        "basis": basis,
        "score": name,
        "level": "gene_level",
        "n_perturbations": n,
        "n_pairs": n * 40,
        "mean_auroc": mean,
        "sd_auroc": 0.1,
        "ci_low": mean - 0.02 if n > 1 else float("nan"),
        "ci_high": mean + 0.02 if n > 1 else float("nan"),
    }


def reach(dataset: str, name: str, perturbations: int, pairs: int) -> dict:
    return {
        "dataset": dataset,
        "score": name,
        "perturbations_listed": 1831,
        "pairs_listed": 157_679,
        "perturbations": perturbations,
        "pairs": pairs,
        "positives": pairs // 5,
        "scorable_perturbations": perturbations,
        "scorable_pairs": pairs,
    }


def write(store: Path, release: str, attention: float = 0.55) -> None:
    folder = store / "bench" / release / "tables"
    folder.mkdir(parents=True)
    tables = {
        "screen_scores": [
            score("line", "variance", 0.8),
            score("line", "correlation", 0.56),
            score("line", "attention", attention),
            score("line", "variance", 0.9, basis="own"),
            score("lone", "variance", 0.7, n=1),
            score("line", "variance", 0.6, subset="informative"),
        ],
        "screen_evaluability": [
            reach("line", "gene_level", 1700, 150_000),
            reach("line", "pairwise", 706, 15_239),
            reach("line", "attention", 700, 15_000),
            reach("line", "published_vocabulary", 690, 14_000),
            reach("[b]<i>lone", "gene_level", 9, 900),
        ],
        "screen_losses": [
            {"dataset": "line", "score": "pairwise", "reason": "perturbed gene is not scored", "perturbations": 1125},
            {"dataset": "line", "score": "attention", "reason": "perturbed gene is not scored", "perturbations": 1125},
            {"dataset": "gone", "score": "every score", "reason": "no mirror", "perturbations": pd.NA},
        ],
        "modality_audit": [
            {"dataset": "line", "modality": "crispri", "agrees": "yes"},
            {"dataset": "line", "modality": "crispri", "agrees": "no"},
        ],
        "null_calibration_summary": [
            {
                "test": "Welch p of a gene" + (" (rare genes too)" if genes == "all" else ""),
                "labels": "welch",
                "genes": genes,
                "assignment": "shuffled",
                "replicates": 200,
                "share_below_05": 0.054,
                "ks": 0.01,
                "ks_limit": 0.02,
                "uniform": genes == "detected",
                "valid": True,
            }
            for genes in ("detected", "all")
        ],
    }
    columns = ("test_id", "status", "dataset", "data_origin", "reason", "effect_kind", "effect", "ci_low", "ci_high")
    numbers = ("delta_auroc", attention - 0.56, -0.03, 0.04)
    tests = [
        ("A03.1", "run", "simulation", "simulated", "", *numbers),
        ("A22.1", "run", "line", "semi_synthetic", "", *numbers),
        ("A29.1", "skipped", "", "", "no heads | <none>", "", None, None, None),
        ("A29.2", "skipped", "", "", "no heads | <none>", "", None, None, None),
    ]
    pd.DataFrame([dict(zip(columns, row, strict=True)) for row in tests]).to_parquet(
        folder.parent / "tests.parquet", index=False
    )
    for name, rows in tables.items():
        pd.DataFrame(rows).to_parquet(folder / f"{name}.parquet", index=False)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write(tmp_path, "one", 0.55)
    write(tmp_path, "two", 0.61)
    return tmp_path


def page(store: Path) -> str:
    return screens_page(read_screens(store, "bench", ["one", "two", "absent"]), "interp export screens")


def section(text: str, title: str) -> str:
    return text.split(f"## {title}", 1)[1].split("\n## ", 1)[0]


def test_each_release_has_its_own_attention_beside_shared_baselines(store: Path) -> None:
    table = section(page(store), "All candidates")
    head, _, line, lone = [row for row in table.splitlines() if row.startswith("|")]
    assert head == "| screen | n | variance | correlation | attention one | attention two |"
    assert line.split(" | ")[2:] == [
        "0.800 [0.780, 0.820]",
        "0.560 [0.540, 0.580]",
        "0.550 [0.530, 0.570]",
        "0.610 [0.590, 0.630] |",
    ]
    assert lone == "| lone | 1 | 0.700 | - | - | - |"


def test_own_and_common_bases_are_never_mixed(store: Path) -> None:
    own = section(page(store), "Each score on all that it reaches")
    assert "0.900 [0.880, 0.920] n 30" in own
    assert "may not be compared" in own
    assert "0.900" not in page(store).replace(own, "")


def test_subsets_stand_apart(store: Path) -> None:
    assert "0.600 [0.580, 0.620]" in section(page(store), "Informative genes")
    assert "Expression-matched" not in page(store)


def test_counts_reasons_and_checks_are_told(store: Path) -> None:
    text = page(store)
    assert "| line | 1,831 / 157,679 | 1,700 / 150,000 | 706 / 15,239 | 700 / 15,000 | 690 / 14,000 |" in text
    assert "- line - pairwise: perturbed gene is not scored (1,125); attention: the same\n" in text
    assert "- gone - no mirror" in text
    assert "| [b]&lt;i>lone | 1,831 / 157,679 | 9 / 900 | - | - | - |" in text
    assert "| line | crispri | 2 | 1 | 0 | 1 |" in text
    assert "| Welch p of a gene | 200 | 0.054 | 0.010 | 0.020 | yes | yes |" in text
    assert "With rare genes too, genes called by Welch: 0 of 1 tests uniform." in text


def losses(store: Path, release: str, *rows: tuple[str, str, str, int | None]) -> None:
    table = pd.DataFrame(rows, columns=["dataset", "score", "reason", "perturbations"])
    folder = store / "bench" / release / "tables"
    table.astype({"perturbations": "Int64"}).to_parquet(folder / "screen_losses.parquet", index=False)
    counts = pd.read_parquet(folder / "screen_evaluability.parquet")
    unread = set(table.loc[table["reason"] == "no gene known", "dataset"])
    counts.loc[counts["dataset"].isin(unread) & (counts["score"] == "attention"), "perturbations"] = 0
    counts.to_parquet(folder / "screen_evaluability.parquet", index=False)


def test_a_screen_that_only_another_release_cannot_read_is_told(store: Path) -> None:
    losses(store, "one", ("line", "attention", "few candidates", 3))
    losses(store, "two", ("line", "attention", "no gene known", 706))
    told = list(lost_lines(read_screens(store, "bench", ["one", "two"])))
    assert told == ["line - attention: few candidates (3)", "line - attention of two: no gene known (706)"]
    assert list(lost_lines(read_screens(store, "bench", ["two"]))) == ["line - attention: no gene known (706)"]


def test_losses_to_a_vocabulary_are_told_only_where_it_is_not_there(store: Path) -> None:
    losses(store, "one", ("line", "a_vocabulary", "perturbed gene is not in the vocabulary", 3))
    assert list(lost_lines(read_screens(store, "bench", ["one"]))) == []
    losses(store, "one", ("line", "a_vocabulary", "vocabulary a_vocabulary is not available", None))
    (told,) = lost_lines(read_screens(store, "bench", ["one"]))
    assert told == "line - vocabulary a_vocabulary is not available"


def test_only_tests_that_were_run_are_told_with_their_effect(store: Path) -> None:
    table = section(page(store), "The declared tests")
    simulated, row = [line for line in table.splitlines() if line.startswith("| A")]
    assert row.startswith("| A22.1 |")
    assert "| line (semi-synthetic) |" in row
    assert "| simulation (simulated) |" in simulated
    assert row.endswith("| -0.010 [-0.030, 0.040] | 0.050 [-0.030, 0.040] |")


def test_what_has_no_answer_is_told_with_its_reason_as_text(store: Path) -> None:
    table = section(page(store), "The declared tests")
    assert "Without an answer for one:" in table
    assert "- A29.1, A29.2: no heads \\| &lt;none>" in table


def test_the_terminal_shows_counts_and_takes_names_as_text(store: Path) -> None:
    console = Console(file=io.StringIO(), width=160)
    results = read_screens(store, "bench", ["one", "two"])
    console.print(reach_table(results))
    text = console.file.getvalue()
    assert "706 / 15,239" in text
    assert "[b]<i>lone" in text
    assert next(iter(lost_lines(results))) == (
        "line - pairwise: perturbed gene is not scored (1,125); attention: the same"
    )


def test_a_store_without_results_gives_an_empty_page_and_no_invented_number(tmp_path: Path) -> None:
    results = read_screens(tmp_path, "bench", ["nobody"])
    assert results.releases == ()
    assert "0." not in screens_page(results, "x").split("## What could be scored")[1]
