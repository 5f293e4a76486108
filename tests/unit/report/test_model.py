"""The section on the model: what is told of it, and what a reader is told where nothing is known."""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd
import pytest

from interp_assets.report.model import model_view
from interp_assets.report.page import render

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def tables():
    facts = [
        ("release", "release_id", "ab" * 32),
        ("release", "licence", EVIL),
        ("release", "trained_on", "example-cells"),
        ("file", "model.safetensors", f"41,183,536 bytes, sha256 {'cd' * 32}"),
        ("model", "family", "geneformer"),
        ("model", "dtype", "float32"),
        ("model", "max_length", "4096"),
        ("model", "unexpected_weights", f"classifier.bias, {EVIL}"),
    ]
    reading = {
        "dataset": ["screen-a", "screen-b"],
        "cells": [200, 100],
        "cells_used": [198, 100],
        "genes_measured": [20_000, 15_000],
        "genes_known": [17_000, 14_000],
        "genes_collapsed": [3, 0],
        "genes_unknown": [2_997, 1_000],
        "genes_in_universe": [600, 400],
        "genes_evaluable": [550, 400],
        "scored_genes_lost": ["GENE1, <b>GENE2</b>", ""],
        "truncated_share": [0.125, 0.0],
        "left_out_share": [0.01, 0.0],
        "left_out_most": [77, 0],
        "dtype": ["float32", "float32"],
        "device": ["cpu", "cpu"],
        "mass_cells": [32, 32],
        "mass_scored_genes": [0.25, 0.2],
        "mass_unscored_genes": [0.7, 0.75],
        "mass_no_gene": [0.05, 0.05],
    }
    mass = {
        "dataset": ["screen-a", "screen-a"],
        "layer": [0, 1],
        "cells": [32, 32],
        "scored_genes": [0.2, 0.3],
        "unscored_genes": [0.75, 0.65],
        "no_gene": [0.05, 0.05],
    }
    return {
        "model_facts": pd.DataFrame(facts, columns=["section", "name", "value"]),
        "model_reading": pd.DataFrame(reading),
        "attention_mass": pd.DataFrame(mass),
    }


def test_what_was_read_is_told_by_data_set(tables):
    view = model_view(tables)
    assert view.reading.columns == ("", "screen-a", "screen-b")
    told = {row[0]: row[1:] for row in view.reading.rows}
    assert told["scored genes the model knows (evaluable)"] == ("550 of 600", "400 of 400")
    assert told["scored genes lost"] == ("50: GENE1, <b>GENE2</b> and others", "0")
    assert told["measured genes lost: not in the vocabulary"] == ("2,997", "1,000")
    assert told["cells cut at the longest sequence"] == ("12.5 %", "0.0 %")
    assert told["attention on positions without a gene"] == ("5.0 %", "5.0 %")
    assert told["number format"] == ("float32", "float32")
    assert view.mass.rows[1] == ("screen-a", "1", "30.0 %", "65.0 %", "5.0 %")
    assert dict(view.model)["longest sequence (tokens)"] == "4096"
    assert dict(view.files) == {"model.safetensors": f"41,183,536 bytes, sha256 {'cd' * 32}"}
    assert view.note == ""


def test_the_page_shows_it_as_text(results, tables):
    html = render(replace(results, tables={**results.tables, **tables}))
    section = html[html.index('<section id="model"') : html.index('<section id="registry"')]
    assert EVIL not in html
    assert "<b>GENE2" not in html
    assert "&lt;img src=x" in section
    for words in ("12.5 %", "550 of 600", "float32", "ab" * 32, "cd" * 32, "unknown keys in the weights"):
        assert words in re.sub(r"</?(data|span)[^>]*>", "", section)
    assert '<a href="#model">' in html


def test_an_evaluation_without_these_tables_has_no_such_section(results):
    html = render(results)
    assert 'id="model"' not in html
    assert "#model" not in html
    assert model_view({}) is None


def test_finished_scores_have_a_release_and_no_model(results, tables):
    facts = tables["model_facts"]
    tables = {"model_facts": facts[facts["section"] != "model"], "model_reading": tables["model_reading"][["dataset"]]}
    view = model_view(tables)
    assert view.model == ()
    assert "Finished scores" in view.note
    assert view.reading is None
    assert "Finished scores" in render(replace(results, tables={**results.tables, **tables}))
