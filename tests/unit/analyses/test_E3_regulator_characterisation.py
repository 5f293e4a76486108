"""E3: a class made to be found fires, a random one does not, and skipped rows say what is missing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from interp_assets.analyses import regulator_characterisation as module
from interp_assets.analyses.per_regulator import per_regulator_bootstrap
from interp_assets.analyses.regulator_characterisation import regulator_characterisation
from interp_assets.analyses.regulator_classes import (
    CLASSES,
    MASTER,
    ClassesError,
    RegulatorClasses,
    regulator_classes,
)
from interp_assets.edges.references import signed_reference
from qc_standards.extended import extended_tests_of, family_sizes
from qc_standards.records import Status

SETTINGS = {"regulator_permutations": 999, "bootstrap": 100}


@pytest.fixture
def judge(make_inputs, monkeypatch):
    """Output of E3; ``classes`` maps a class to the places of its regulators among the listed ones."""

    def run(kind="planted", *, classes=None, alter=None, fewest=1, whole=10, run=regulator_characterisation, **knobs):
        def shaped(role):
            return thinned(alter(role) if alter else role, fewest, whole)

        inputs = make_inputs(18, kind, settings=SETTINGS, alter=shaped, **knobs)
        role = inputs.roles["primary_screen"]
        names = role.genes[role.references["planted"].regulators]
        given = {str(names[place]): one for one, places in (classes or {}).items() for place in places}
        made = RegulatorClasses(of_gene=given, source=dict.fromkeys(given, "made up"), sha256="0" * 64)
        monkeypatch.setattr(module, "regulator_classes", lambda: made)
        return run(replace(inputs, tests=extended_tests_of(3)))

    return run


def thinned(role, fewest, whole=10):
    """Reference whose k-th regulator keeps fewest + k % 12 of its targets; the whole file has ``whole`` more."""
    reference = role.references["planted"]
    order = {gene: place for place, gene in enumerate(reference.regulators.tolist())}
    rank = pd.Series(reference.source).groupby(reference.source).cumcount().to_numpy()
    kept = rank < np.array([fewest + order[gene] % 12 for gene in reference.source.tolist()])
    sizes = {str(role.genes[gene]): whole + fewest + place % 12 for gene, place in order.items()}
    thin = replace(
        reference,
        source=reference.source[kept],
        target=reference.target[kept],
        direction=reference.direction[kept],
        facts={"regulon_sizes": sizes},
    )
    return replace(role, references={"planted": thin})


def by_id(output):
    return {result.test_id: result for result in output.results}


def masters_found(role):
    """Attention that carries the targets of the first ten listed regulators and nothing else."""
    rng = np.random.default_rng(4)
    reference = role.references["planted"]
    score = rng.normal(size=(role.genes.size,) * 2)
    held = np.isin(reference.source, reference.regulators[:10])
    score[reference.source[held], reference.target[held]] += 4.0
    edges = replace(role.correlation, name="attention", score=score.astype(np.float32))
    return replace(role, attention=replace(role.attention, layer_matrix=lambda _: edges))


def test_a_class_that_attention_finds_fires(judge):
    found = by_id(judge(alter=masters_found, classes={MASTER: range(10), "housekeeping": range(10, 20)}))
    for name in ("E3.1", "E3.2"):
        assert found[name].effect > 0.3
        assert found[name].ci_low > 0
        assert found[name].p == 1 / 1000
    assert found["E3.10"].effect < 0
    assert found["E3.1"].n == 30
    assert json.loads(found["E3.2"].settings_used)["n_class"] == 8
    assert found["E3.1"].resamples_done == found["E3.1"].resamples_requested == 999


def test_noise_fires_nothing(judge):
    output = judge("noise", classes={MASTER: range(10), "lineage_specific": range(10, 20)})
    p = [result.p for result in output.results if result.status == Status.RUN]
    assert len(p) == 9
    assert min(p) > 0.05 / 11


def test_aurocs_are_those_of_scikit_learn_and_of_analysis_18(judge, make_inputs):
    table = judge(noise=2.0, missing=0.05).tables["regulator_characterisation"]
    role = make_inputs(18, noise=2.0, missing=0.05, alter=lambda role: thinned(role, 1)).roles["primary_screen"]
    score = role.attention.layer_matrix(2).score.astype(float)
    np.fill_diagonal(score, np.nan)
    score = np.where(np.isnan(score), np.nanmin(score), score)
    reference = role.references["planted"]
    for own, line in zip(reference.regulators, table.itertuples(), strict=True):
        other = np.arange(role.genes.size) != own
        label = np.isin(np.arange(role.genes.size), reference.target[reference.source == own])
        assert line.auroc == pytest.approx(roc_auc_score(label[other], score[own, other]))
        assert line.n_targets == label.sum()
    again = judge(noise=2.0, missing=0.05, run=lambda inputs: per_regulator_bootstrap(
        replace(inputs, tests=make_inputs(18).tests)
    )).tables["per_regulator"].query("edge == 'attention'")  # fmt: skip
    for column in ("auroc", "ci_low", "ci_high", "p_exact"):
        assert table[column].to_numpy() == pytest.approx(again[column].to_numpy(), nan_ok=True)


def test_correlations_are_those_of_scipy(judge):
    output = judge(noise=2.0)
    table, found = output.tables["regulator_characterisation"], by_id(output)
    properties = {
        "E3.3": "mean_expression",
        "E3.4": "variance",
        "E3.5": "detected_share",
        "E3.6": "regulon_size",
        "E3.7": "n_targets",
        "E3.11": "activator_share",
    }
    for test_id, name in properties.items():
        part = table[table[name].notna()]
        scipys = stats.spearmanr(part[name], part["auroc"])
        assert (found[test_id].effect, found[test_id].p) == (
            pytest.approx(scipys.statistic),
            pytest.approx(scipys.pvalue),
        )
        assert found[test_id].ci_low <= found[test_id].effect <= found[test_id].ci_high
        assert found[test_id].n == len(part)


def test_few_targets_are_shown_to_be_noise(judge):
    output = judge("noise", genes=200, perturbations=120)
    table = output.tables["regulator_by_targets"].set_index("targets")
    assert table["regulators"].tolist() == [10, 10, 30, 50, 20]
    assert table["regulators"].sum() == len(output.tables["regulator_characterisation"])
    assert table["chance_sd"].is_monotonic_decreasing
    assert table.loc["1", "chance_sd"] == pytest.approx(np.sqrt(1 / 12), rel=0.02)
    assert (table["sd_auroc"] / table["chance_sd"]).between(0.5, 1.6).all()
    assert ((table["ci_low"] < table["mean_auroc"]) & (table["mean_auroc"] < table["ci_high"])).all()
    assert (table["resamples_done"] == 100).all()


def test_rows_without_a_class_or_a_property_are_skipped_with_the_reason(judge):
    def bare(role):
        reference = replace(
            role.references["planted"], direction=np.zeros(role.references["planted"].source.size, np.int8)
        )
        return replace(role, references={"planted": reference})

    found = by_id(judge(alter=bare))
    for name in ("E3.1", "E3.2", "E3.8", "E3.9", "E3.10"):
        assert found[name].status == Status.SKIPPED
        assert found[name].p is None
    assert "none of the 30 evaluable regulators of planted" in found["E3.1"].reason
    assert "with 3 or more targets is a master regulator" in found["E3.2"].reason
    assert found["E3.11"].status == Status.SKIPPED
    assert "0 of 30 regulators have a known activator share" in found["E3.11"].reason
    same = by_id(judge(alter=bare, whole=0))["E3.7"]
    assert (same.status, same.reason[:12]) == (Status.SKIPPED, "same as E3.6")
    everyone = by_id(judge(classes={MASTER: range(30)}))
    assert "is anything but a master regulator" in everyone["E3.1"].reason


def test_a_reference_that_is_not_there_skips_all(judge):
    output = judge(alter=None, run=lambda inputs: regulator_characterisation(
        replace(inputs, roles={}, absent={"primary_screen": "no screen here"})
    ))  # fmt: skip
    assert {result.reason for result in output.results} == {"no screen here"}
    assert not output.tables


def test_the_family_is_eleven_and_the_four_unnamed_tests_are_our_own():
    tests = extended_tests_of(3)
    assert list(family_sizes(tests).values()) == [11]
    assert [spec.source for spec in tests] == ["published"] * 7 + ["own"] * 4
    assert all("does not name" in spec.published["note"] for spec in tests[7:])


def test_the_whole_regulon_is_counted_beyond_the_scored_genes():
    pairs = pd.DataFrame({"tf": ["A", "A", "A", "Z"], "target": ["B", "X", "Y", "B"], "direction": [1, 1, -1, 1]})
    found = signed_reference("made", pairs, np.array(["A", "B", "C"]))
    assert found.facts["regulon_sizes"] == {"A": 3}
    assert found.source.size == 1


def test_shipped_classes_have_a_source_and_the_nine_masters():
    classes = regulator_classes()
    masters = {gene for gene, one in classes.of_gene.items() if one == MASTER}
    assert masters == {"GATA1", "PPARG", "FOXA1", "NKX2-5", "KLF1", "PAX3", "TAL1", "LEF1", "WT1"}
    assert set(classes.of_gene.values()) == set(CLASSES)
    assert all(classes.source[gene] for gene in classes.of_gene)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "must be a list of entries"),
        ("- {class: master_regulator, genes: [A]}", "entry 1: needs the keys"),
        ("- {class: king, source: s, genes: [A]}", "class 'king'"),
        ("- {class: housekeeping, source: s, genes: [1]}", "list of symbols"),
        (
            "- {class: housekeeping, source: s, genes: [A]}\n- {class: master_regulator, source: s, genes: [A]}",
            "entry 2",
        ),
        ("{", "cannot be read"),
    ],
)
def test_a_list_of_classes_that_cannot_be_used_is_named(tmp_path, text, said):
    path = tmp_path / "classes.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ClassesError, match=r"classes\.yaml") as caught:
        regulator_classes(path)
    assert said in str(caught.value)
