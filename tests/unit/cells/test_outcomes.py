from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import sparse

from interp_assets.cells.dataset_records import UniverseRule
from interp_assets.cells.datasets import load_datasets
from interp_assets.cells.differential import LabelRule
from interp_assets.cells.features import gene_features
from interp_assets.cells.outcomes import (
    OutcomesError,
    evaluability,
    labels_from_cells,
    labels_from_pairs,
    read_pairs,
    screen_genes,
)
from interp_assets.cells.prepare import CONTROL, normalised_log
from interp_assets.cells.records import PreparedCells
from interp_assets.edges.records import Reference

GENES = np.array([f"G{i}" for i in range(12)])


@pytest.fixture
def cells() -> PreparedCells:
    rng = np.random.default_rng(4)
    counts = rng.poisson(3.0, size=(170, 12))
    names = np.repeat([CONTROL, "G1", "G2", "G3", "elsewhere"], [60, 40, 40, 10, 20])
    counts[names == "G1", 5:8] *= 5
    counts[names == "G2", 7:9] *= 5
    matrix = sparse.csr_matrix(counts, dtype=np.int32)
    return PreparedCells(
        dataset="toy",
        species="human",
        data_origin="simulated",
        counts=matrix,
        log=normalised_log(matrix),
        genes=GENES,
        obs=pd.DataFrame({"perturbation": names}, index=[f"c{i}" for i in range(170)]),
        control=names == CONTROL,
        cells_hash="hash",
        universe=GENES[:10],
    )


RULE = LabelRule(min_cells=15)


def test_labels_from_cells_find_what_was_changed(cells):
    found = labels_from_cells(cells, control=cells.control, modality="crispra", rule=RULE)
    assert found.perturbations.tolist() == ["G1", "G2"]
    positives = {name: set(found.genes[row == 1]) for name, row in zip(found.perturbations, found.label, strict=True)}
    assert {"G5", "G6", "G7"} <= positives["G1"]
    assert {"G7", "G8"} <= positives["G2"]
    assert found.label[0, 1] == found.label[1, 2] == -1
    assert len(found.table) == 2 * 9
    assert found.table.groupby("perturbation")["label"].sum().to_dict() == {
        name: len(genes) for name, genes in positives.items()
    }
    assert found.facts["fold"] == "difference of mean log1p, natural log"


def test_exclusions_say_why(cells):
    found = labels_from_cells(cells, control=cells.control, modality="crispra", rule=RULE)
    assert dict(found.exclusions.to_numpy()) == {
        "G3": "10 cells, 15 needed",
        "elsewhere": "perturbed gene is not scored",
    }


def test_informative_genes_carry_both_labels(cells):
    found = labels_from_cells(cells, control=cells.control, modality="crispra", rule=RULE)
    for column, informative in zip(found.label.T.tolist(), found.informative, strict=True):
        assert informative == (1 in column and 0 in column)
    assert "G7" not in found.genes[found.informative]  # positive for both, never negative
    assert found.informative.any()


def test_planted_weights_are_aligned_by_name(cells):
    weights = pd.DataFrame(
        np.arange(24.0).reshape(2, 12), index=["G2", "G1"], columns=[f"G{i}" for i in range(11, -1, -1)]
    )
    found = labels_from_cells(cells, control=cells.control, modality="crispra", rule=RULE, planted_weight=weights)
    assert found.planted_weight[0, 0] == weights.loc["G1", "G0"]
    assert found.planted_weight[1, 9] == weights.loc["G2", "G9"]
    with pytest.raises(OutcomesError, match="planted weights lack 1 names, such as 'G1'"):
        labels_from_cells(
            cells, control=cells.control, modality="crispra", rule=RULE, planted_weight=weights.drop(index="G1")
        )


def test_a_screen_without_perturbations_is_refused(cells):
    with pytest.raises(OutcomesError, match="no perturbation has 500 cells"):
        labels_from_cells(cells, control=cells.control, modality="crispri", rule=LabelRule(min_cells=500))
    bare = replace(cells, obs=cells.obs[[]])
    with pytest.raises(OutcomesError, match="no `perturbation` column"):
        labels_from_cells(bare, control=cells.control, modality="crispri")


ROWS = """perturbed_gene\ttarget_gene\tis_de\tsplit\tdirection_up
G1\tG5\t1\ttrain\t1
G1\tG6\t0\ttrain\t
G2\tG5\t0\ttrain\t
G2\tG6\t0\ttrain\t
NA\tG6\t1\ttest\t0
G2\tNAN\t1\ttest\t0
G9\tG11\t1\ttest\t0
G10\tG5\t1\ttest\t1
missing\tG5\t1\ttest\t0
"""


@pytest.fixture
def pairs_spec(declare):
    document = yaml.safe_load(load_datasets()["perturbqa_k562"].file.read_text(encoding="utf-8"))
    return declare(document | {"id": "pairs", "universe": {"genes": 0, "forced": "screen"}})


@pytest.fixture
def pairs_file(tmp_path):
    def write(text: str = ROWS):
        path = tmp_path / "pairs.tsv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_genes_called_na_are_genes(pairs_spec, pairs_file):
    pairs = read_pairs(pairs_spec, pairs_file())
    assert {"NA", "NAN"} <= set(screen_genes(pairs).tolist())
    assert not pairs.isna().any().any()


def test_only_listed_pairs_are_candidates(pairs_spec, pairs_file, cells):
    pairs = read_pairs(pairs_spec, pairs_file())
    found = labels_from_pairs(pairs_spec, pairs, cells)
    assert found.perturbations.tolist() == ["G1", "G2"]
    listed = {(found.perturbations[i], found.genes[j]) for i, j in np.argwhere(found.label >= 0)}
    assert listed == {("G1", "G5"), ("G1", "G6"), ("G2", "G5"), ("G2", "G6")}
    assert found.label[0, 5] == 1
    assert found.kind == "outcome_only"
    assert found.modality == "crispri"
    assert found.context_mismatch
    assert found.table["q"].isna().all()
    assert list(found.table.columns) == [
        *("perturbation", "gene", "lfc", "p", "q", "label"),
        *("split", "direction"),
    ]


def test_informative_genes_look_at_training_perturbations_only(pairs_spec, pairs_file, cells):
    found = labels_from_pairs(pairs_spec, read_pairs(pairs_spec, pairs_file()), cells)
    # G6 is positive for a test perturbation only, G5 has both labels in train.
    assert found.genes[found.informative].tolist() == ["G5"]


def test_lost_perturbations_are_listed_with_a_reason(pairs_spec, pairs_file, cells):
    found = labels_from_pairs(pairs_spec, read_pairs(pairs_spec, pairs_file()), cells)
    assert dict(found.exclusions.to_numpy()) == {
        "G9": "none of its listed genes is scored",
        "G10": "perturbed gene is not in the scored universe",
        "NA": "perturbed gene is not measured in the control cells",
        "missing": "perturbed gene is not measured in the control cells",
    }


def test_evaluability_counts_every_stage(pairs_spec, pairs_file, cells):
    found = labels_from_pairs(pairs_spec, read_pairs(pairs_spec, pairs_file()), cells)
    table = evaluability(found, ["G1", "G2", "G5"], role="primary_screen", min_positives=1, min_negatives=0)
    assert table["stage"].tolist() == ["listed", "measured", "in_vocabulary", "scorable"]
    assert table["pairs"].tolist() == [9, 6, 2, 1]
    assert table["perturbations"].tolist() == [6, 4, 2, 1]
    assert table["positives"].tolist() == [6, 3, 1, 1]
    assert table["genes"].tolist() == [4, 3, 1, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a readable table"),
        ("perturbed_gene\ttarget_gene\tis_de\tsplit\tdirection_up\n", "lists no pair"),
        (ROWS.replace("is_de", "de"), "no column 'is_de' \\(key `outcomes.label`"),
        (ROWS.replace("\t1\ttrain", "\tyes\ttrain"), "holds 'yes' in 1 rows; labels must be 0 or 1"),
        (ROWS + "G1\tG5\t0\ttrain\t\n", "pair G1 - G5 is listed more than once"),
        (ROWS.replace("train", "learn"), "no row has 'split' equal to 'train'"),
    ],
)
def test_a_wrong_table_is_named(pairs_spec, pairs_file, text, message):
    path = pairs_file(text)
    with pytest.raises(OutcomesError, match=message) as caught:
        read_pairs(pairs_spec, path)
    assert str(path) in str(caught.value)


def test_a_truncated_table_is_named(pairs_spec, tmp_path):
    import gzip

    path = tmp_path / "pairs.tsv.gz"
    path.write_bytes(gzip.compress((ROWS * 50).encode())[:-20])
    with pytest.raises(OutcomesError, match="not a readable table"):
        read_pairs(pairs_spec, path)


def test_a_screen_of_other_genes_is_refused(pairs_spec, pairs_file, cells):
    other = replace(cells, universe=np.array(["X", "Y"]))
    with pytest.raises(OutcomesError, match="none of 9 listed pairs has both genes measured"):
        labels_from_pairs(pairs_spec, read_pairs(pairs_spec, pairs_file()), other)


def test_gene_features_are_those_of_the_control_cells(cells):
    reference = Reference(
        name="toy_reference",
        genes=cells.universe,
        source=np.array([0, 0, 4], dtype=np.int32),
        target=np.array([1, 2, 5], dtype=np.int32),
        directed=True,
        regulators=np.array([0, 4], dtype=np.int32),
    )
    table = gene_features(cells, reference)
    dense = cells.log.toarray()[cells.control][:, :10].astype(np.float64)
    assert table.index.tolist() == cells.universe.tolist()
    np.testing.assert_allclose(table["mean"], dense.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(table["variance"], dense.var(axis=0, ddof=1), rtol=1e-9)
    np.testing.assert_allclose(table["dropout"], (dense == 0).mean(axis=0), rtol=1e-12)
    assert table["out_degree"].tolist() == [2, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert table.attrs["cells_hash"] == "hash"


def test_without_a_reference_the_out_degree_is_unknown_and_not_zero(cells):
    assert gene_features(cells)["out_degree"].isna().all()
    other = Reference(
        name="r",
        genes=GENES,
        source=np.array([], dtype=np.int32),
        target=np.array([], dtype=np.int32),
        directed=True,
        regulators=np.array([], dtype=np.int32),
    )
    with pytest.raises(ValueError, match="is over other genes"):
        gene_features(cells, other)
    with pytest.raises(ValueError, match="at least 2 control cells"):
        gene_features(replace(cells, control=np.zeros(170, bool)))


def test_an_unused_universe_rule_is_harmless():
    assert UniverseRule().panel_genes == ()
