"""The section on trivial pairwise scores: numbers as stored, sentences that follow the readings."""

from __future__ import annotations

import pandas as pd
import pytest

from interp_assets.report.pairwise_page import BASELINES, ORIENTATIONS, pairwise_lines
from interp_assets.report.screens import read_screens, screens_page

SCORES = {"attention": 0.55, "correlation": 0.56, "rank_distance": 0.6, "co_detection": 0.5, "product_of_means": 0.548}


def reading(gap: float) -> str:
    return "equal" if abs(gap) < 0.005 else "greater" if gap > 0.03 else "smaller" if gap < -0.03 else "undecided"


def baselines(scores: dict[str, float], **changes: object) -> pd.DataFrame:
    truths = [("screen", "all", 30), ("screen", "informative", 30), ("curated|<b>", "all", 12)]
    rows = []
    for truth, subset, n in truths:
        for edge in ("attention", "correlation"):
            for name in BASELINES:
                gap = scores[edge] - scores[name]
                row = {"dataset": "line", "truth": truth, "primary": True, "subset": subset, "layer": 3, "score": edge}
                row |= {"baseline": name, "auroc_score": scores[edge], "auroc_baseline": scores[name], "n_units": n}
                row |= {"score_ci_low": scores[edge] - 0.01, "score_ci_high": scores[edge] + 0.01}
                row |= {"baseline_ci_low": scores[name] - 0.01, "baseline_ci_high": scores[name] + 0.01}
                row |= {"difference": gap, "ci_low": gap - 0.004, "ci_high": gap + 0.004, "margin": 0.02}
                rows.append({**row, "reading": reading(gap), **changes})
    return pd.DataFrame(rows)


def residual(low: float, high: float) -> pd.DataFrame:
    rows = []
    for truth, subset in (("screen", "all"), ("screen", "informative"), ("curated|<b>", "all")):
        for edge in ("attention", "correlation"):
            for variant, shift in (("ranks", 0.2), ("normal scores, cubic", 0.0)):
                row = {
                    "truth": truth,
                    "subset": subset,
                    "primary": True,
                    "score": edge,
                    "deciding": not shift,
                    "auroc_ranked": 0.57,
                }
                row |= {"auroc_residual": (low + high) / 2 + shift, "ci_low": low + shift, "ci_high": high + shift}
                rows.append({**row, "variant": variant, "p": 0.04})
    return pd.DataFrame(rows)


def turned(**gaps: float) -> pd.DataFrame:
    rows = []
    for layer, name in ((layer, name) for layer in (2, 3) for name in ORIENTATIONS):
        gap = gaps.get(name, 0.0)
        row = {"truth": "screen", "layer": layer, "frozen": layer == 3, "orientation": name, "auroc": 0.55 + gap}
        row |= {"auroc_ci_low": 0.5, "auroc_ci_high": 0.6, "n_units": 30, "reading": reading(gap)}
        rows.append(row | {"difference": gap, "ci_low": gap - 0.004, "ci_high": gap + 0.004})
    return pd.DataFrame(rows)


def page(scores: dict[str, float] = SCORES, left: tuple[float, float] = (0.51, 0.53), **gaps: float) -> str:
    tables = {
        "pairwise_baselines": baselines(scores),
        "pairwise_residual": residual(*left),
        "orientations": turned(**gaps),
    }
    return "\n".join(pairwise_lines({"one": tables, "bare": {}}))


def said(text: str, start: str) -> list[str]:
    return [each for each in text.splitlines() if each.startswith(f"- {start}")]


def test_numbers_stand_as_stored():
    text = page(transposed=-0.04)
    assert "| screen | 30 | 0.550 [0.540, 0.560] | 0.560 [0.550, 0.570] | 0.600 [0.590, 0.610]" in text
    assert "| -0.050 [-0.054, -0.046] smaller | +0.050 [+0.046, +0.054] greater |" in text
    assert "| screen, informative genes | 0.520 [0.510, 0.530], p 0.040 (0.570) |" in text
    assert "0.510 (-0.040 [-0.044, -0.036] smaller)" in text
    assert "attention in layer 3" in text
    assert "### bare" not in text
    assert "0.720" not in text  # the variant that does not decide stays in the table


def test_sentences_follow_the_readings():
    first, turned_over = said(page(), "screen: ")
    assert first == (
        "- screen: attention is above co-detection, is below rank distance and equals product of means within the "
        "margin; what is left beyond the three still ranks targets above chance."
    )
    assert turned_over.count("equals the declared orientation within the margin") == 3
    other = {**SCORES, "attention": 0.58}
    first, turned_over = said(page(other, (0.49, 0.52), transposed=0.05, mean=0.02), "screen: ")
    assert "is above co-detection and product of means and cannot be told from rank distance" in first.replace(",", "")
    assert "cannot be told from chance" in first
    assert "read the other way round, attention is above the declared orientation" in turned_over
    assert "as the mean of both directions, attention cannot be told from the declared orientation" in turned_over
    assert "ranks targets below chance" in page(left=(0.4, 0.45))


def test_a_trivial_score_below_one_half_is_no_rival():
    assert "shows nothing" not in page()
    backwards = page({**SCORES, "rank_distance": 0.3})
    assert "(rank distance lies below .5, so that to exceed it shows nothing)" in backwards
    both = page({**SCORES, "rank_distance": 0.3, "co_detection": 0.4})
    assert "(rank distance and co-detection lie below .5, so that to exceed them shows nothing)" in both


def test_a_number_that_is_not_there_is_not_made_up():
    tables = {"pairwise_baselines": baselines(SCORES, ci_low=float("nan"), ci_high=float("nan"))}
    tables["pairwise_residual"] = residual(float("nan"), float("nan"))
    text = "\n".join(pairwise_lines({"one": tables}))
    assert "| -0.050 smaller |" in text
    assert "what is left beyond the three has no interval" in text
    assert "nan" not in text
    assert "orientation" not in text


def test_names_from_data_are_no_markup():
    text = page()
    assert "curated\\|&lt;b>" in text
    assert "<b>" not in text


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / "bench" / "one" / "tables"
    folder.mkdir(parents=True)
    stored = {"pairwise_baselines": baselines(SCORES), "pairwise_residual": residual(0.51, 0.53)}
    for name, frame in {**stored, "orientations": turned()}.items():
        frame.to_parquet(folder / f"{name}.parquet", index=False)
    return tmp_path


def test_the_results_page_has_the_section_where_the_tables_are_stored(store):
    text = screens_page(read_screens(store, "bench", ["one"]), "interp export screens")
    section = text.split("## Attention beside trivial pairwise scores", 1)[1].split("\n## ", 1)[0]
    assert section.strip() == page().strip()
    (store / "bench" / "two" / "tables").mkdir(parents=True)
    frame = pd.DataFrame({"dataset": ["a"], "modality": ["crispri"], "agrees": ["yes"]})
    frame.to_parquet(store / "bench" / "two" / "tables" / "modality_audit.parquet")
    assert "trivial pairwise" not in screens_page(read_screens(store, "bench", ["two"]), "interp export screens")
