from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import sparse, stats

from interp_assets.cells.dataset_records import OutcomeFormat, UniverseRule
from interp_assets.cells.datasets import load_datasets
from interp_assets.cells.differential import LabelRule, differential_expression
from interp_assets.cells.features import gene_features
from interp_assets.cells.outcome_pairs import read_pairs, screen_genes
from interp_assets.cells.outcome_tables import OutcomesError, own_positions
from interp_assets.cells.outcomes import (
    evaluability,
    labels_from_cells,
    labels_from_pairs,
    source_reasons,
)
from interp_assets.cells.own_change import modality_agreement
from interp_assets.cells.prepare import CONTROL, normalised_log
from interp_assets.cells.records import PreparedCells, no_own_change
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
    assert found.perturbations.tolist() == ["G1", "G2", "elsewhere"]
    assert found.with_scored_source.tolist() == [True, True, False]
    positives = {name: set(found.genes[row == 1]) for name, row in zip(found.perturbations, found.label, strict=True)}
    assert {"G5", "G6", "G7"} <= positives["G1"]
    assert {"G7", "G8"} <= positives["G2"]
    assert found.label[0, 1] == found.label[1, 2] == -1
    assert (found.label[2] >= 0).all()  # nothing is its own gene
    assert len(found.table) == 2 * 9 + 10
    assert found.table.groupby("perturbation")["label"].sum().to_dict() == {
        name: len(genes) for name, genes in positives.items()
    }
    assert found.facts["fold"] == "difference of mean log1p, natural log"


def test_exclusions_say_why(cells):
    found = labels_from_cells(cells, control=cells.control, modality="crispra", rule=RULE)
    assert dict(found.exclusions.to_numpy()) == {"G3": "10 cells, 15 needed"}
    assert dict(source_reasons(found).to_numpy()) == {"elsewhere": "perturbed gene is not scored"}


def test_a_perturbation_without_a_scored_source_is_tested_like_any_other(cells):
    found = labels_from_cells(cells, control=cells.control, modality="crispra", rule=RULE)
    group = np.where(cells.obs["perturbation"] == "elsewhere", 0, -1)
    alone = differential_expression(cells.log[:, :10], group, cells.control, np.array([-1]))
    rows = found.table[found.table["perturbation"] == "elsewhere"]
    np.testing.assert_allclose(rows["p"], alone.p[0])
    np.testing.assert_allclose(rows["q"], alone.q[0])
    assert found.baseline_label.shape == found.label.shape == (3, 10)


def test_neither_gene_of_a_pair_is_its_candidate(cells):
    renamed = cells.obs["perturbation"].replace({"elsewhere": "G5+G11", "G2": "G2+G6"})
    found = labels_from_cells(
        replace(cells, obs=cells.obs.assign(perturbation=renamed)),
        control=cells.control,
        modality="crispra",
        rule=RULE,
    )
    assert found.perturbations.tolist() == ["G1", "G2+G6", "G5+G11"]
    out = {(found.perturbations[i], found.genes[j]) for i, j in np.argwhere(found.label < 0)}
    assert out == {("G1", "G1"), ("G2+G6", "G2"), ("G2+G6", "G6"), ("G5+G11", "G5")}
    np.testing.assert_array_equal(found.label < 0, found.baseline_label < 0)
    assert found.with_scored_source.tolist() == [True, False, False]
    assert set(source_reasons(found)["reason"]) == {"perturbs two genes at once"}
    assert found.own_change["perturbation"].tolist() == ["G1"]


def test_only_scored_sources_count_as_measured(cells):
    found = labels_from_cells(cells, control=cells.control, modality="crispra", rule=RULE)
    table = evaluability(found, found.genes.tolist(), min_positives=1).set_index("stage")
    assert table.loc["listed", ["perturbations", "pairs"]].tolist() == [3, 28]
    assert table.loc["measured", ["perturbations", "pairs"]].tolist() == [2, 18]
    assert table.loc["in_vocabulary", "perturbations"] == 2


def test_a_gene_may_change_where_it_is_measured_and_not_scored(cells):
    renamed = cells.obs["perturbation"].replace({"elsewhere": "G11"})
    raised = cells.counts.toarray()
    raised[renamed == "G11", 11] = 0
    raised[renamed == "G1", 1] *= 6
    counts = sparse.csr_matrix(raised, dtype=np.int32)
    changed = replace(cells, obs=cells.obs.assign(perturbation=renamed), counts=counts, log=normalised_log(counts))
    found = labels_from_cells(changed, control=cells.control, modality="crispra", rule=RULE)
    own = found.own_change.set_index("perturbation")
    assert own.index.tolist() == ["G1", "G11", "G2"]
    dense = changed.log.toarray().astype(np.float64)
    for name, gene in (("G1", 1), ("G11", 11), ("G2", 2)):
        with np.errstate(invalid="ignore"):
            expected = stats.ttest_ind(dense[renamed == name, gene], dense[cells.control, gene], equal_var=False)
        assert own.loc[name, "p"] == pytest.approx(expected.pvalue, rel=1e-6)
    np.testing.assert_allclose(own["q"], stats.false_discovery_control(own["p"]))
    assert own["cells"].tolist() == [40, 20, 40]
    judged = modality_agreement(found.own_change, "CRISPRa").set_index("perturbation")
    assert judged["agrees"].to_dict() == {"G1": "yes", "G11": "no", "G2": "undecided"}
    assert set(judged["expected"]) == {"up"}


@pytest.mark.parametrize(
    ("modality", "expected", "agrees"),
    [
        ("crispri", "down", ["yes", "no", "undecided", "undecided"]),
        ("crispra", "up", ["no", "yes", "undecided", "undecided"]),
        ("crisprko", "not up", ["yes", "no", "undecided", "undecided"]),
    ],
)
def test_a_modality_promises_a_direction(modality, expected, agrees):
    own = pd.DataFrame(
        {
            "perturbation": list("abcd"),
            "lfc": [-1.0, 1.0, -0.1, 0.1],
            "p": [1e-6, 1e-6, 0.5, 0.5],
            "q": [1e-5, 1e-5, 0.6, 0.6],
            "cells": 40,
        }
    )
    table = modality_agreement(own, modality)
    assert table["agrees"].tolist() == agrees
    assert set(table["expected"]) == {expected}
    assert list(table.columns) == ["perturbation", "modality", "lfc", "p", "q", "cells", "expected", "agrees"]


def test_a_modality_that_promises_nothing_is_refused_where_there_is_something_to_judge():
    own = pd.DataFrame({"perturbation": ["a"], "lfc": [1.0], "p": [0.1], "q": [0.1], "cells": [40]})
    with pytest.raises(ValueError, match="modality 'none' promises nothing"):
        modality_agreement(own, "none")
    assert modality_agreement(no_own_change(), "none").empty


def test_informative_genes_carry_both_labels(cells):
    two = replace(cells, obs=cells.obs.replace({"perturbation": {"elsewhere": CONTROL}}))
    found = labels_from_cells(two, control=cells.control, modality="crispra", rule=RULE)
    for column, informative in zip(found.label.T.tolist(), found.informative, strict=True):
        assert informative == (1 in column and 0 in column)
    assert "G7" not in found.genes[found.informative]  # positive for both, never negative
    assert found.informative.any()


def test_planted_weights_are_aligned_by_name(cells):
    weights = pd.DataFrame(
        np.arange(36.0).reshape(3, 12),
        index=["G2", "G1", "elsewhere"],
        columns=[f"G{i}" for i in range(11, -1, -1)],
    )
    found = labels_from_cells(cells, control=cells.control, modality="crispra", rule=RULE, planted_weight=weights)
    assert found.planted_weight[0, 0] == weights.loc["G1", "G0"]
    assert found.planted_weight[1, 9] == weights.loc["G2", "G9"]
    with pytest.raises(OutcomesError, match="planted weights lack 1 names, such as 'G1'"):
        labels_from_cells(
            cells, control=cells.control, modality="crispra", rule=RULE, planted_weight=weights.drop(index="G1")
        )


def test_a_screen_whose_perturbations_are_all_too_small_is_refused(cells):
    with pytest.raises(OutcomesError, match="no perturbation has 500 cells; 4 excluded"):
        labels_from_cells(cells, control=cells.control, modality="crispri", rule=LabelRule(min_cells=500))


def test_cells_that_nothing_was_perturbed_in_have_no_outcomes(cells):
    bare = replace(cells, obs=cells.obs[[]])
    controls = replace(cells, obs=cells.obs.assign(perturbation=CONTROL))
    for unperturbed in (bare, controls):
        found = labels_from_cells(unperturbed, control=cells.control, modality="crispri")
        assert found.kind == found.modality == "none"
        assert found.label.shape == (0, 10)
        assert found.informative.shape == found.genes.shape
        assert len(found.table) == len(found.exclusions) == len(found.own_change) == len(source_reasons(found)) == 0
        table = evaluability(found, found.genes.tolist())
        assert (table[["perturbations", "genes", "pairs", "positives"]] == 0).all(axis=None)


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
    assert found.perturbations.tolist() == ["G1", "G10", "G2", "NA", "missing"]
    assert found.training.tolist() == [True, False, False, False, False]  # G2 has a test pair
    listed = {(found.perturbations[i], found.genes[j]) for i, j in np.argwhere(found.label >= 0)}
    assert listed == {("G1", "G5"), ("G1", "G6"), ("G2", "G5"), ("G2", "G6")} | {
        *(("G10", "G5"), ("NA", "G6"), ("missing", "G5")),
    }
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
    assert dict(found.exclusions.to_numpy()) == {"G9": "none of its listed genes is scored"}
    assert dict(source_reasons(found).to_numpy()) == {
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
        (ROWS.replace("\t1\ttrain", "\tyes\ttrain"), "holds 'yes' in line 2, 1 such rows; labels must be 0 or 1"),
        (ROWS + "G1\tG5\t0\ttrain\t\n", "pair G1 - G5 is listed more than once"),
        (ROWS.replace("train", "learn"), "no row has 'split' equal to 'train'"),
        (ROWS + "\tG5\t0\ttrain\t\n", "column 'perturbed_gene' is empty in line [0-9]+, 1 such rows"),
        (ROWS + "G1\t \t0\ttrain\t\n", "column 'target_gene' is empty in line [0-9]+, 1 such rows"),
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


def test_the_genes_of_a_pair_beside_single_ones_are_its_own_and_no_nameless_gene_is():
    genes = np.array(["A", "", "B", "C"])
    assert own_positions(genes, np.array(["A", "B+C"])).tolist() == [[0, -1], [2, 3]]


def test_a_screen_of_other_genes_is_refused(pairs_spec, pairs_file, cells):
    other = replace(cells, universe=np.array(["X", "Y"]))
    with pytest.raises(OutcomesError, match="none of 9 listed pairs has a gene, other than the perturbed one"):
        labels_from_pairs(pairs_spec, read_pairs(pairs_spec, pairs_file()), other)


def test_self_pairs_of_a_table_of_labels_are_counted(pairs_spec, pairs_file, cells):
    before = labels_from_pairs(pairs_spec, read_pairs(pairs_spec, pairs_file()), cells)
    pairs = read_pairs(pairs_spec, pairs_file(ROWS + "G11\tG11\t1\ttrain\t\n"))
    found = labels_from_pairs(pairs_spec, pairs, cells)
    assert found.facts["self_pairs_dropped"] == before.facts["self_pairs_dropped"] + 1


P_ROWS = """parent\tchild\tpvalue
G1\tG1\t0.0
G1\tG5\t0.001
G1\tG6\t0.04
G1\tNA\t0.9
G2\tG5\t0.03
G2\tG11\t0.04
G2\tG2\t1e-300
G11\tG5\t1.0
"""


@pytest.fixture
def p_spec(pairs_spec):
    form = OutcomeFormat(perturbation="parent", gene="child", p="pvalue", q=0.05)
    return replace(pairs_spec, outcomes=form)


def test_published_p_values_become_labels_within_each_perturbation(p_spec, pairs_file):
    pairs = read_pairs(p_spec, pairs_file(P_ROWS))
    assert len(pairs) == 6
    assert pairs.attrs["self_pairs_dropped"] == 2
    for _, rows in pairs.groupby("perturbation"):
        np.testing.assert_allclose(rows["q"], stats.false_discovery_control(rows["p"]))
    # .04 of three tests is not called, .04 of two is; with the self pairs both would be.
    called = {(row.perturbation, row.gene) for row in pairs.itertuples() if row.label}
    assert called == {("G1", "G5"), ("G2", "G5"), ("G2", "G11")}
    assert "NA" in screen_genes(pairs)


def test_published_p_values_stay_in_the_table(p_spec, pairs_file, cells):
    found = labels_from_pairs(p_spec, read_pairs(p_spec, pairs_file(P_ROWS)), cells)
    assert found.perturbations.tolist() == ["G1", "G11", "G2"]
    table = found.table.set_index(["perturbation", "gene"])
    assert table.loc[("G1", "G6"), ["p", "q", "label"]].tolist() == [0.04, pytest.approx(0.06), 0]
    assert table["lfc"].isna().all()
    assert found.training is None
    assert found.genes[found.informative].tolist() == ["G5"]  # called for G1 and G2, not for G11
    assert found.facts["self_pairs_dropped"] == 2
    assert dict(source_reasons(found).to_numpy()) == {"G11": "perturbed gene is not in the scored universe"}


@pytest.mark.parametrize("bad", ["1.2", "-0.1", "", "nan", "small"])
def test_a_p_that_is_none_is_refused_with_its_row(p_spec, pairs_file, bad):
    path = pairs_file(P_ROWS.replace("0.04\nG1\tNA", f"{bad}\nG1\tNA"))
    with pytest.raises(OutcomesError, match=f"column 'pvalue' holds '{bad}' in line 4 \\(G1 - G6\\), 1 such rows"):
        read_pairs(p_spec, path)


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
