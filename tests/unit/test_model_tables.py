"""Tables about the model of an evaluation, from the card of its release and the facts of its attention."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from interp_assets.evaluation_tables import mass_table, model_table, reading_table
from interp_assets.models.records import ReleaseCard

FACTS = {
    "cells": 200,
    "cells_used": 199,
    "genes_measured": 1_000,
    "genes_known": 900,
    "genes_collapsed": 2,
    "genes_unknown": 98,
    "genes_in_universe": 300,
    "genes_evaluable": 280,
    "scored_genes_lost": ["AES", "HLA.A"],
    "truncated_share": 0.25,
    "left_out_share": 0.01,
    "left_out_most": 12,
    "dtype": "float32",
    "device": "cpu",
    "form": "logsumexp",
    "model": {
        "family": "geneformer",
        "layers": 2,
        "mask": 1,
        "facts": {"specials": [], "unexpected_weights": [f"head.{number}" for number in range(15)]},
    },
    "mass": {
        "cells": 32,
        "rows": 9,
        "scored_genes": [0.2, 0.4],
        "unscored_genes": [0.7, 0.5],
        "no_gene": [0.1, 0.1],
    },
}
CARD = ReleaseCard(
    name="mine",
    kind="release",
    family="geneformer",
    release_id="ab" * 32,
    folder="/somewhere/mine",
    gap=0.75,
    trained_on=("cells-a",),
    facts={
        "name": "mine",
        "licence": "Apache-2.0",
        "source": "a hub",
        "training": {"steps": 2000, "loss_curve": [1, 2], "baseline": 6.5},
        "files": [{"path": "model.safetensors", "size": 41_183_536, "sha256": "cd" * 32}],
    },
)


def roles(**facts):
    kept = {key: value for key, value in facts.items() if value is not None}
    inputs = SimpleNamespace(dataset="screen", attention=SimpleNamespace(facts=kept))
    return {"primary_screen": inputs, "second_screen": inputs}


def test_release_files_and_model_are_told_one_fact_a_row():
    table = model_table(CARD, roles(**FACTS))
    told = {(section, name): value for section, name, value in table.itertuples(index=False)}
    assert told["release", "release_id"] == "ab" * 32
    assert told["release", "licence"] == "Apache-2.0"
    assert told["release", "trained_on"] == "cells-a"
    assert (told["release", "held_out_gap"], told["release", "training_steps"]) == ("0.75", "2000")
    assert told["file", "model.safetensors"] == f"41,183,536 bytes, sha256 {'cd' * 32}"
    assert (told["model", "layers"], told["model", "specials"]) == ("2", "–")
    assert told["model", "unexpected_weights"].endswith("head.11 and 3 more")
    assert not table["value"].str.contains("/somewhere").any()  # paths of a machine do not travel


def test_what_was_read_is_one_row_a_dataset_however_many_roles_it_fills():
    table = reading_table(roles(**FACTS))
    assert len(table) == 1
    row = table.iloc[0]
    assert (row["genes_evaluable"], row["genes_unknown"], row["truncated_share"]) == (280, 98, 0.25)
    assert row["scored_genes_lost"] == "AES, HLA.A"
    assert (row["mass_scored_genes"], row["mass_no_gene"], row["mass_cells"]) == (pytest.approx(0.3), 0.1, 32)
    layers = mass_table(roles(**FACTS))
    assert layers["layer"].tolist() == [0, 1]
    assert (layers[["scored_genes", "unscored_genes", "no_gene"]].sum(axis=1) - 1).abs().max() < 1e-9


def test_finished_scores_have_no_model_and_no_mass():
    bare = {**FACTS, "model": None, "mass": None, "truncated_share": None}
    assert set(model_table(CARD, roles(**bare))["section"]) == {"release", "file"}
    assert "mass_cells" not in reading_table(roles(**bare))
    assert mass_table(roles(**bare)).empty
    assert reading_table({}).empty
    twin = ReleaseCard(name="mine.shuffled", kind="negative_control", family="geneformer")
    assert "file" not in set(model_table(twin, {})["section"])
