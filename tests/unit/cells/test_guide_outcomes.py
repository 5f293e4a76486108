from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

from interp_assets.cells.differential import LabelRule
from interp_assets.cells.guide_outcomes import guide_holders, labels_from_guides
from interp_assets.cells.outcome_tables import OutcomesError
from interp_assets.cells.outcomes import source_reasons
from interp_assets.cells.prepare import normalised_log
from interp_assets.cells.records import PreparedCells

CELLS = 400
GENES = np.array([f"G{i}" for i in range(12)])
TABLE = pd.DataFrame(
    {
        "guide": ["a1", "a2", "b1", "c1", "e1", "n1", "n2"],
        "group": ["G1_TSS", "G1_TSS", "G2_TSS", "G11_TSS", "enhancer", "n1", "n2"],
        "kind": ["target", "target", "target", "target", "other", "non_targeting", "non_targeting"],
        "gene": ["G1", "G1", "G2", "G11", "", "", ""],
    }
)
RULE = LabelRule(log_fold=0.2, min_cells=10)


@pytest.fixture
def cells() -> PreparedCells:
    rng = np.random.default_rng(6)
    guides = (rng.random((CELLS, 7)) < [0.12, 0.12, 0.2, 0.1, 0.2, 0.1, 0.1]).astype(np.int8)
    counts = rng.poisson(4.0, size=(CELLS, 12))
    one = guides[:, :2].any(axis=1)
    counts[one, 1] = 0
    counts[one, 5:7] *= 4
    counts[guides[:, 2] == 1, 7] *= 4
    matrix = sparse.csr_matrix(counts, dtype=np.int32)
    return PreparedCells(
        dataset="toy_guides",
        species="human",
        data_origin="simulated",
        counts=matrix,
        log=normalised_log(matrix),
        genes=GENES,
        obs=pd.DataFrame(index=[f"c{i}" for i in range(CELLS)]),
        control=np.ones(CELLS, dtype=bool),
        cells_hash="hash",
        universe=GENES[:10],
        guides=sparse.csr_matrix(guides),
        guide_table=TABLE,
    )


def test_a_perturbation_is_a_gene_with_all_its_guides(cells):
    names, held = guide_holders(cells, "target", "gene")
    assert names.tolist() == ["G1", "G11", "G2"]
    guides = cells.guides.toarray()
    np.testing.assert_array_equal(held.toarray()[0], (guides[:, 0] | guides[:, 1]))
    names, held = guide_holders(cells, "non_targeting", "guide")
    assert names.tolist() == ["n1", "n2"]
    assert held.sum() == guides[:, 5:].sum()


def test_labels_find_what_the_guides_changed(cells):
    found = labels_from_guides(cells, modality="crispri", rule=RULE)
    assert found.kind == "cells"
    assert found.perturbations.tolist() == ["G1", "G11", "G2"]
    assert found.with_scored_source.tolist() == [True, False, True]
    assert dict(source_reasons(found).to_numpy()) == {"G11": "perturbed gene is not scored"}
    assert {"G5", "G6"} <= set(found.genes[found.label[0] == 1])
    assert "G7" in found.genes[found.label[2] == 1]
    assert found.label[0, 1] == found.label[2, 2] == -1
    assert found.baseline_label.shape == found.label.shape
    assert found.facts["cells_of_several_perturbations"] > 10


def test_each_gene_is_compared_with_all_cells_without_its_guides(cells):
    found = labels_from_guides(cells, modality="crispri", rule=RULE)
    dense, guides = cells.log.toarray().astype(np.float64), cells.guides.toarray()
    held = guides[:, 2] == 1
    expected = stats.ttest_ind(dense[held], dense[~held], equal_var=False)
    rows = found.table[found.table["perturbation"] == "G2"].set_index("gene")
    at = [GENES.tolist().index(gene) for gene in rows.index]
    np.testing.assert_allclose(rows["p"], expected.pvalue[at], rtol=1e-8)
    own = found.own_change.set_index("perturbation")
    assert own.loc["G2", "p"] == pytest.approx(expected.pvalue[2], rel=1e-8)
    assert own.loc["G1", "lfc"] < -1
    assert own.loc["G1", "q"] < 1e-10
    assert own.index.tolist() == ["G1", "G11", "G2"]
    assert own.loc["G2", "cells"] == held.sum()


def test_small_groups_are_excluded_with_the_reason(cells):
    guides = cells.guides.toarray()
    guides[np.flatnonzero(guides[:, 2])[3:], 2] = 0
    few = replace(cells, guides=sparse.csr_matrix(guides))
    found = labels_from_guides(few, modality="crispri", rule=RULE)
    assert dict(found.exclusions.to_numpy()) == {"G2": "3 cells, 10 needed"}
    assert "G2" not in found.perturbations
    with pytest.raises(OutcomesError, match="none of 3 target genes has 399 cells"):
        labels_from_guides(few, modality="crispri", rule=LabelRule(min_cells=399))


def test_what_is_missing_is_named(cells):
    with pytest.raises(OutcomesError, match="cells hold no guides"):
        labels_from_guides(replace(cells, guides=None), modality="crispri")
    table = TABLE.assign(kind="other")
    with pytest.raises(OutcomesError, match="no guide of kind 'target'"):
        labels_from_guides(replace(cells, guide_table=table), modality="crispri")
    everyone = sparse.csr_matrix(np.ones((CELLS, 7), dtype=np.int8))
    with pytest.raises(OutcomesError, match="0 cells hold no target guide"):
        labels_from_guides(replace(cells, guides=everyone), modality="crispri", rule=RULE)
