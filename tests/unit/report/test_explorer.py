"""The explorer's section: packed numbers are the stored ones, hostile names stay text, the page says what it shows."""

import base64
import html
import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from interp_assets.analyses import explorer_choice
from interp_assets.report import explorer_data, page
from interp_assets.report.explorer import STATIC_ROWS, explorer_view

_SPEC = importlib.util.spec_from_file_location("example_explorer", Path(__file__).with_name("example_explorer.py"))
example = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(example)


@pytest.fixture(scope="module")
def tables():
    return example.example_explorer()


@pytest.fixture(scope="module")
def view(tables):
    return explorer_view(tables)


@pytest.fixture(scope="module")
def section(view):
    return page.environment().get_template("explorer.html").render(explorer=view)


def unpacked(text):
    return np.frombuffer(base64.b64decode(text), dtype="<u2")


def value_of(code):
    """What a code of three digits means, worked out from the definition and not from the packing."""
    if code == 0:
        return None
    if code == 1:
        return 0.0
    whole, sign = divmod(int(code) - 3, 2)
    power, digits = divmod(whole, 900)
    return float(f"{'-' if sign else ''}{100 + digits}e{power - 28}")


def test_without_tables_there_is_no_section_and_without_pairs_a_reason():
    assert explorer_view({"tests": pd.DataFrame()}) is None
    view = explorer_view({"explorer_facts": pd.DataFrame({"reason": ["controls <b> run few rows"]})})
    text = page.environment().get_template("explorer.html").render(explorer=view)
    assert "controls &lt;b&gt; run few rows" in text
    assert "explorer-data" not in text


def test_packed_values_and_ranks_are_those_of_the_tables(tables, view):
    data = json.loads(view.data)
    scores = tables["explorer_scores"]
    for own in data["regulators"]:
        rows = scores[scores["regulator"] == own["name"]]
        names = [data["names"][number] for number in own["targets"]]
        assert names * len(data["scores"]) == rows["target"].tolist()
        told = [value_of(code) for code in unpacked(own["value"])]
        assert told == [None if np.isnan(value) else float(f"{value:.2e}") for value in rows["value"]]
        assert (unpacked(own["rank"]) / 2 == rows["rank"]).all()
        assert (unpacked(own["both"]) / 2 == rows["rank_both_directions"]).all()
    assert [tuple(score) for score in data["scores"]] == list(
        scores[["score", "layer", "head"]].drop_duplicates().itertuples(index=False, name=None)
    )


def test_recovery_and_memberships_are_those_of_the_tables(tables, view):
    data = json.loads(view.data)
    recovery, listed = tables["explorer_recovery"], tables["explorer_listed"]
    for own in data["regulators"]:
        for at, reference in enumerate(tables["explorer_references"]["reference"]):
            rows = recovery[(recovery["regulator"] == own["name"]) & (recovery["reference"] == reference)]
            expected = [None if np.isnan(value) else round(value, 3) for value in rows["auroc"]]
            assert own["recovery"][at]["auroc"] == expected
            assert own["recovery"][at]["targets"] == rows["n_targets"].iloc[0]
            pairs = listed[(listed["regulator"] == own["name"]) & (listed["reference"] == reference)]
            members, directions = own["listed"][at]
            assert [data["names"][own["targets"][place]] for place in members] == pairs["target"].tolist()
            assert directions == pairs["direction"].tolist()


@pytest.mark.parametrize("value", [1.0, -1.0, 0.999, 0.9995, 9.995e-5, 1.005, 123456.0, 3e-26, 9.99e9, -2.5e-13])
def test_three_digits_read_the_same_packed_and_in_words(value):
    (code,) = explorer_data.packed_values(np.array([value]))
    assert value_of(code) == float(f"{value:.2e}") == float(explorer_data.three_digits(value))


@pytest.mark.parametrize(
    ("value", "code", "words"),
    [(np.nan, 0, "–"), (0.0, 1, "0"), (1e-30, 1, "0"), (1e10, 2, "beyond 1e10"), (np.inf, 2, "beyond 1e10")],
)
def test_what_has_no_three_digits_says_so(value, code, words):
    assert explorer_data.packed_values(np.array([value])).tolist() == [code]
    assert explorer_data.three_digits(value) == words


def test_a_rank_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="score fewer genes"):
        explorer_data.packed_ranks(np.array([1.0, 40_000.0]))


def test_no_name_can_end_the_data_block_or_begin_an_element(view, section):
    assert not set("<>&") & set(view.data)
    assert [own["name"] for own in json.loads(view.data)["regulators"]] == list(example.REGULATORS)
    assert section.count("<script") == section.count("</script>") == 1
    assert "<img" not in section


def test_a_hostile_default_regulator_stays_text():
    tables = example.example_explorer()
    order = [2, 1, 0]
    tables["explorer_regulators"] = tables["explorer_regulators"].iloc[order].reset_index(drop=True)
    text = page.environment().get_template("explorer.html").render(explorer=explorer_view(tables))
    assert "<img" not in text
    assert html.escape(example.REGULATORS[2]) in text


def test_every_number_without_a_script_names_its_cell(walk, tables, section):
    page = walk.Walk(section)
    stored = walk.Stored(lambda name: tables[f"explorer_{name.removeprefix('results/explorer/')}"], lambda name: {})
    assert len(page.sourced) > 8 * STATIC_ROWS
    assert [(node.attrs, wrong) for node in page.sourced if (wrong := walk.fault(node, stored))] == []
    bare = [
        text.strip()
        for node, text in page.texts
        if re.search(r"\d", text)
        and not any(each.sourced or each.tag in ("figcaption", "script") for each in node.up())
        and not any("constant" in each.attrs.get("class", "").split() for each in node.up())
    ]
    assert bare == []


def test_the_strongest_attention_stands_first_where_no_script_sorts(walk, section):
    ranks = [float(node.text) for node in walk.Walk(section).sourced if node.attrs.get("data-column") == "rank"]
    assert len(ranks) == STATIC_ROWS
    assert ranks == sorted(ranks)


def test_the_default_is_said_in_words(tables, view):
    recovery = tables["explorer_recovery"].query("regulator == 'TF-1' and reference == 'planted_net' and head == -1")
    of = recovery[recovery["layer"].isin([-1, example.READ])].set_index("score")["auroc"]
    assert (
        f"at AUROC {of['attention']:.3f}. For comparison: correlation (|Spearman|) {of['correlation']:.3f};"
        in view.said
    )
    words = {"one_minus_dropout": "target 1 - dropout alone", "variance": "target variance alone"}
    words |= {"mean": "target mean expression alone", "correlation": "correlation (|Spearman|)"}
    assert f"Highest here: {words.get(of.idxmax(), 'attention')}. Chance" in view.said
    assert view.said.startswith(f"In layer {example.READ} (mean over heads), attention ranks the ")
    assert "the network “planted net” lists for TF-1" in view.said


def test_the_page_says_what_was_left_out(tables, view):
    told = " ".join(view.left_out)
    why = tables["explorer_targets"]["why"].value_counts()
    assert "3 of 41" in told
    assert "90 pairs" in told
    assert "6 more listed or responding genes are left out" in told
    assert f"{why['listed']} listed genes" in told
    assert "Single heads" not in told
    bare = explorer_view(example.example_explorer(heads=False))
    assert "Single heads are not shown: an edge table" in " ".join(bare.left_out)


def test_the_largest_choice_stays_within_the_share_of_the_page():
    rng = np.random.default_rng(0)
    scores, most = 76, explorer_choice.MOST_MARKED + explorer_choice.STRONGEST + explorer_choice.DRAWN
    regulators = explorer_choice.NUMBERS // (2 * scores * most)
    names = [f"GENE-NAME-{number}" for number in range(1200)]
    pairs = pd.DataFrame(
        [(f"TF{number}", name) for number in range(regulators) for name in rng.choice(names, most, replace=False)],
        columns=["regulator", "target"],
    )
    size = len(pairs)
    kinds = [("attention", at, head) for at in range(8) for head in range(-1, 8)]
    kinds += [(name, -1, -1) for name in ("correlation", "variance", "mean", "one_minus_dropout")]
    parts = [pairs.assign(score=name, layer=layer, head=head) for name, layer, head in kinds]
    table = pd.concat(parts, ignore_index=True)
    table = table.assign(value=rng.random(len(table)), rank=rng.integers(1, 1200, len(table)) + 0.5)
    tables = example.example_explorer()
    recovery = [
        (f"TF{number}", reference, 0.5123, 60, 1199)
        for _ in kinds
        for reference in tables["explorer_references"]["reference"]
        for number in range(regulators)
    ]
    tables |= {
        "explorer_scores": table.assign(rank_both_directions=np.nan),
        "explorer_targets": pairs.assign(
            why="listed", cells_behind=750, signed_correlation=rng.random(size), outcome=1, lfc=rng.random(size), q=0.1
        ),
        "explorer_listed": pd.concat(
            [pairs.assign(reference=name, direction=1) for name in ("planted_net", "both_ways")], ignore_index=True
        ),
        "explorer_recovery": pd.DataFrame(
            recovery, columns=["regulator", "reference", "auroc", "n_targets", "n_candidates"]
        ),
        "explorer_regulators": pd.DataFrame({"regulator": pairs["regulator"].unique(), "perturbed": True}),
    }
    text = explorer_data.embedded(explorer_data.page_data(tables))
    assert 600_000 < len(text.encode("utf-8")) < 720_000


def test_a_block_beyond_the_limit_is_refused(monkeypatch, tables):
    monkeypatch.setattr(explorer_data, "LIMIT", 100)
    with pytest.raises(ValueError, match="lower NUMBERS"):
        explorer_view(tables)


def test_tables_that_do_not_belong_together_are_refused(tables):
    torn = {**tables, "explorer_scores": tables["explorer_scores"].iloc[:-1]}
    with pytest.raises(ValueError, match="do not belong together"):
        explorer_data.page_data(torn)
