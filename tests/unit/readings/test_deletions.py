"""Deletions against a naive forward pass; pairs are chosen without outcomes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from interp_assets.cells.outcomes import no_outcomes
from interp_assets.edges.records import Reference
from interp_assets.models.families.geneformer import load_geneformer
from interp_assets.models.files.releases import read_release
from interp_assets.readings import deletions as module
from interp_assets.readings.catalogue import reading
from interp_assets.readings.records import ReadData, kept_files

ROLE = "agreement_screens[1]"
GENES = 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory, example, models) -> Path:
    return example.write_bert(tmp_path_factory.mktemp("deletions") / "tiny", models.seal, layers=3, head="untied")


@pytest.fixture(scope="module")
def cells(example, models):
    """40 cells, 30 genes; sequences of at most 22 genes, so that the longest are cut."""
    counts = example.toy_counts(40, GENES, seed=4)
    return models.prepared_cells(counts, [f"G{number}" for number in range(GENES)], control=np.arange(40) != 7)


def labels_of(cells, rng):
    """Outcomes of six perturbed genes on every other gene; fold changes at random."""
    rows = [
        {"perturbation": f"G{s}", "gene": f"G{t}", "lfc": rng.normal(), "p": 0.5, "q": 0.5, "label": 0}
        for s in range(6)
        for t in range(GENES)
        if s != t
    ]
    return replace(no_outcomes(cells), table=pd.DataFrame(rows), perturbations=np.array([f"G{s}" for s in range(6)]))


@pytest.fixture(scope="module")
def ask(folder, cells, make_context):
    """Function: a context on the toy screen; the reference lists two targets of G0 and one of G1."""

    def factory(seed=0, held=None, settings=None, **changes):
        genes = cells.genes
        listed = Reference(
            name="curated",
            genes=genes,
            source=np.array([0, 0, 1], dtype=np.int32),
            target=np.array([9, 12, 14], dtype=np.int32),
            directed=True,
            regulators=np.array([0, 1], dtype=np.int32),
        )
        data = ReadData(
            role=ROLE,
            cells=cells,
            labels=labels_of(cells, np.random.default_rng(seed)),
            references={"curated": listed},
            primary_reference="curated",
        )
        wanted = {"agreement_pairs": 10, "deletion_cells": 6} | (settings or {})
        return replace(make_context(folder, replace(data, **(held or {})), settings=wanted), **changes)

    return factory


@pytest.fixture(scope="module")
def found(ask):
    return module.read(ask())


def test_the_catalogue_names_it():
    assert reading("deletions").run is module.read
    assert reading("deletions").roles == tuple(f"agreement_screens[{n}]" for n in (1, 2, 3, 4))


def test_effects_equal_a_naive_forward_pass(found, folder, cells, example):
    naive, model = example.Naive(folder), load_geneformer(read_release(folder))
    encoded = module.encoded_cells(model, cells, cells.genes)
    held = module._held(encoded).toarray()
    for row in found.tables["deletion_pairs"].head(4).itertuples():
        source, target = (int(name.removeprefix("G")) for name in (row.source, row.target))
        both = np.flatnonzero((held[:, source] == 1) & (held[:, target] == 1))
        assert row.cells_with_both == both.size
        changes, distances = [], []
        for cell in module.spread(both, 6):
            tokens = encoded.encoded.tokens[encoded.encoded.offsets[cell] : encoded.encoded.offsets[cell + 1]].tolist()
            hidden = [1 if token == target + 4 else token for token in tokens]  # <mask> is token 1, G0 is token 4
            without = [token for token in hidden if token != source + 4]
            runs = [naive.run(sequence) for sequence in (hidden, without)]
            logit = [run.logits[seq.index(1), target + 4] - run.logits[seq.index(1)].mean()
                     for run, seq in zip(runs, (hidden, without), strict=True)]  # fmt: skip
            states = [run.states[-1][seq.index(1)] for run, seq in zip(runs, (hidden, without), strict=True)]
            changes.append(float(logit[1] - logit[0]))
            distances.append(1 - float(states[0] @ states[1] / (states[0].norm() * states[1].norm())))
        assert row.logit_change == pytest.approx(np.mean(changes), abs=2e-5)
        assert row.logit_change_se == pytest.approx(np.std(changes, ddof=1) / np.sqrt(len(changes)), abs=2e-5)
        assert row.cosine_distance == pytest.approx(np.mean(distances), abs=2e-5)
        assert abs(row.logit_change) > 1e-3


def test_listed_targets_come_first_and_sources_take_turns(found):
    table = found.tables["deletion_pairs"]
    assert tuple(table.columns) == module.COLUMNS
    assert len(table) == 10
    assert not table.duplicated(["source", "target"]).any()
    assert set(table.head(6)["source"]) == {f"G{number}" for number in range(6)}
    own = table[table["source"].isin(["G0", "G1"])]
    assert own["listed"].all()
    assert set(own["target"]) <= {"G9", "G12", "G14"}
    assert not table[~table["source"].isin(["G0", "G1"])]["listed"].any()
    assert (table["cells_with_both"] >= module.LEAST_CELLS).all()
    assert (table["cells"] == np.minimum(table["cells_with_both"], 6)).all()
    assert not set(table["source"]) & set(table["target"])


def test_the_choice_does_not_look_at_outcomes(ask, found):
    other = module.read(ask(seed=1))
    pd.testing.assert_frame_equal(other.tables["deletion_pairs"], found.tables["deletion_pairs"])


def test_screens_on_the_same_cells_share_their_effects(ask, found, monkeypatch):
    calls = []
    real = module.deletion_effect
    monkeypatch.setattr(module, "deletion_effect", lambda *given: calls.append(given) or real(*given))
    context = ask()
    second = replace(context.data[ROLE], role="agreement_screens[2]")
    both = module.read(replace(context, data={**context.data, "agreement_screens[2]": second}))
    assert len(calls) == 10
    table = both.tables["deletion_pairs"]
    pd.testing.assert_frame_equal(table[table["role"] == ROLE], found.tables["deletion_pairs"])
    assert len(table) == 20


def test_a_rerun_gives_the_same_bytes(ask, found):
    again = kept_files("d", module.read(ask()), lambda frame: frame.to_csv().encode())
    assert again == kept_files("d", found, lambda frame: frame.to_csv().encode())


def test_a_release_without_a_head_has_distances_only(ask, example, models, tmp_path):
    bare = example.write_bert(tmp_path / "bare", models.seal, layers=2, head="none")
    table = module.read(ask(release=read_release(bare))).tables["deletion_pairs"]
    assert table["logit_change"].isna().all()
    assert (table["cosine_distance"] > 0).all()


def test_what_cannot_be_read_says_why(ask, cells):
    context = ask()
    assert module.read(replace(context, release=replace(context.release, family="edge_table"))) == module.NO_MODEL
    assert module.read(replace(context, data={}, absent={ROLE: "gone"})) == "gone"
    folds = context.data[ROLE].labels.table.assign(lfc=np.nan)
    unlisted = replace(context.data[ROLE].labels, table=folds)
    assert "no fold changes" in module.read(ask(held={"labels": unlisted}))
    renamed = context.data[ROLE].labels.table.assign(perturbation="Y1")
    assert "in the vocabulary" in module.read(ask(held={"labels": replace(unlisted, table=renamed)}))
    few = replace(cells, control=np.arange(40) < 3)
    assert "control cells" in module.read(ask(held={"cells": few}))
