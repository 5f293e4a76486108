"""The rate at which a gene answers to other perturbations never sees the outcome it is to predict."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from interp_assets.stats.crossfit import TooLittleDataError, group_folds
from interp_assets.stats.de_rate import training_de_rate


def screen(rows=40, genes=30, seed=0, listed=0.6, spread=1.5):
    rng = np.random.default_rng(seed)
    odds = -1.0 + spread * rng.normal(size=genes)
    label = (rng.random((rows, genes)) < 1 / (1 + np.exp(-odds))).astype(np.int8)
    label[rng.random(label.shape) >= listed] = -1
    return label, rng.random(rows) < 0.7


def plain(label, readers):
    """Rates from the rows in `readers` by a loop over genes."""
    outcomes = label[readers]
    base = (outcomes == 1).sum() / (outcomes >= 0).sum()
    return [((column == 1).sum() + base) / ((column >= 0).sum() + 1) for column in outcomes.T]


def test_equals_a_loop_over_folds_and_genes():
    label, training = screen()
    rate = training_de_rate(label, training, 5, 3)
    rows = np.arange(40)
    fold = group_folds(rows[training].astype(str), 5, np.random.default_rng(3))
    of_row = dict(zip(rows[training], fold, strict=True))
    for row in rows:
        readers = [other for other in rows[training] if other != row and of_row[other] != of_row.get(row)]
        np.testing.assert_allclose(rate[row], plain(label, readers), rtol=1e-12)


@pytest.mark.parametrize("split", [True, False], ids=["declared split", "no split"])
def test_no_row_sees_its_own_outcome(split):
    label, training = screen()
    training = training if split else None
    before = training_de_rate(label, training, 4, [1, 2])
    for row in range(label.shape[0]):
        flipped = label.copy()
        flipped[row] = np.where(label[row] >= 0, 1 - label[row], -1)
        np.testing.assert_array_equal(training_de_rate(flipped, training, 4, [1, 2])[row], before[row])


def test_rows_of_one_gene_see_none_of_each_other():
    label, training = screen()
    group = np.arange(40) // 2  # pairs of rows, often one in training and one outside
    before = training_de_rate(label, training, 4, 0, group=group)
    for row in range(40):
        flipped = label.copy()
        both = group == group[row]
        flipped[both] = np.where(label[both] >= 0, 1 - label[both], -1)
        np.testing.assert_array_equal(training_de_rate(flipped, training, 4, 0, group=group)[row], before[row])


def test_a_gene_never_listed_in_training_scores_the_base_rate():
    label, training = screen()
    label[training, 7] = -1
    rate = training_de_rate(label, training, 5, 0)
    listed = label[training]
    assert rate[~training, 7] == pytest.approx((listed == 1).sum() / (listed >= 0).sum())
    assert ((rate > 0) & (rate < 1)).all()


def test_noise_ranks_responders_at_chance_and_gene_identity_is_found():
    chance = []
    for seed in range(30):
        label, _ = screen(60, 50, seed, spread=0.0)
        rate = training_de_rate(label, None, 5, seed)
        kept = label >= 0
        chance.append(roc_auc_score(label[kept], rate[kept]))
    # A leak of the own outcome would lift this to about .6 with 60 rows.
    assert abs(np.mean(chance) - 0.5) < 0.012
    label, _ = screen(60, 50, 1, spread=2.0)
    rate = training_de_rate(label, None, 5, 1)
    assert roc_auc_score(label[label >= 0], rate[label >= 0]) > 0.8


def test_too_few_training_perturbations_and_wrong_shapes_are_refused():
    label, training = screen()
    with pytest.raises(TooLittleDataError, match="training perturbations: 3 groups cannot fill 5 folds"):
        training_de_rate(label, np.arange(40) < 3, 5, 0)
    with pytest.raises(TooLittleDataError, match="no outcome is listed"):
        training_de_rate(np.full_like(label, -1), training, 5, 0)
    with pytest.raises(ValueError, match="one training flag"):
        training_de_rate(label, training[:5], 5, 0)


@pytest.mark.mirror
def test_gene_identity_alone_reaches_the_stated_auroc_on_k562(data_mirror):
    """Pooled over the pairs of the test split: .957, and .890 where both labels occur in training."""
    file = data_mirror / "perturb" / "perturbqa_k562_crispri_de_labels.tsv.gz"
    table = pd.read_csv(file, sep="\t", keep_default_na=False)
    gene, target = pd.factorize(table["perturbed_gene"])[0], pd.factorize(table["target_gene"])[0]
    label = np.full((gene.max() + 1, target.max() + 1), -1, dtype=np.int8)
    label[gene, target] = table["is_de"].astype(int)
    training = np.zeros(label.shape[0], dtype=bool)
    training[gene[table["split"] == "train"]] = True
    rate = training_de_rate(label, training, 5, 0)
    seen = label[training]
    informative = ((seen == 1).any(axis=0) & (seen == 0).any(axis=0))[None, :]
    test = (label >= 0) & ~training[:, None]
    assert roc_auc_score(label[test], rate[test]) == pytest.approx(0.957, abs=0.001)
    fair = test & informative
    assert roc_auc_score(label[fair], rate[fair]) == pytest.approx(0.890, abs=0.001)
    # Out of fold, training perturbations are predicted no better than test ones: nothing leaks.
    own = (label >= 0) & training[:, None] & informative
    assert roc_auc_score(label[own], rate[own]) == pytest.approx(0.890, abs=0.02)
