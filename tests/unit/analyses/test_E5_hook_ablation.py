"""E5 on made-up runs: tests are those of scipy, random sets are the null, other families are left alone."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import wilcoxon

from interp_assets.analyses.catalogue_extended import ROWS
from interp_assets.analyses.hook_ablation import AGAINST_CLEAN, AGAINST_RANDOM, STRUCTURAL, dose_slopes, hook_ablation
from interp_assets.stats.paired import signed_rank
from qc_standards.extended import extended_tests_of, family_sizes
from qc_standards.records import Status

ROLE = "primary_screen"
TOP = tuple(AGAINST_RANDOM.values())


@pytest.fixture
def ask(make_inputs, make_interventions):
    """Function: inputs of E5 with a made-up run on a model of scGPT's type."""

    def factory(settings=None, family="scgpt", **knobs):
        inputs = make_inputs(32, settings=settings)
        record = make_interventions(inputs.roles[ROLE], **knobs)
        layers = int(knobs.get("shape", (18, 18))[0])
        record = replace(record, facts={**record.facts, "family": family, "layers": layers})
        return replace(inputs, interventions=record, tests=extended_tests_of(5))

    return factory


def rows_of(inputs):
    return {result.test_id: result for result in hook_ablation(inputs).results}


def change(record, condition, read_out="logits"):
    return (record.auroc_of(condition, read_out) - record.auroc_of("clean", read_out)).to_numpy()


def test_declared_rows_are_one_local_family():
    specs = extended_tests_of(5)
    assert family_sizes(specs) == {"ablation of scGPT-type models": 10}
    assert {spec.source for spec in specs} == {"own"}
    assert next(entry for entry in ROWS if entry.number == 5).tests == 10


def test_top_heads_that_matter_beat_every_random_set(ask):
    results = rows_of(ask(effects=dict.fromkeys(TOP, -0.2)))
    for test_id in AGAINST_RANDOM:
        result = results[test_id]
        assert result.p == pytest.approx(1 / 5)
        assert result.effect == pytest.approx(-0.2, abs=0.03)
        assert result.ci_high < 0
        assert (result.n, result.unit) == (4, "head set")
        assert (result.resamples_requested, result.resamples_done) == (4, 4)


def test_heads_against_random_sets_by_a_loop(ask):
    inputs = ask(effects={"upstream-top-20": -0.01})
    results, record = rows_of(inputs), inputs.interventions
    for test_id, name in AGAINST_RANDOM.items():
        dose = name.rsplit("-", 1)[1]
        drawn = np.array([change(record, f"upstream-random-{dose}/{draw}").mean() for draw in (1, 2, 3, 4)])
        own = change(record, name).mean()
        result = results[test_id]
        assert result.effect == pytest.approx(own)
        assert result.p == pytest.approx((1 + (drawn <= own).sum()) / 5)
        assert result.null_mean == pytest.approx(drawn.mean())
        assert result.null_sd == pytest.approx(drawn.std(ddof=1))
        assert result.statistic == pytest.approx(own - drawn.mean())


def test_layers_and_uniform_attention_against_the_clean_model(ask):
    inputs = ask(effects={"mlp-8": -0.1, "upstream-uniform-top-10": 0.05})
    results, record = rows_of(inputs), inputs.interventions
    for test_id, name in AGAINST_CLEAN.items():
        own, result = change(record, name), results[test_id]
        assert result.effect == pytest.approx(own.mean())
        assert result.p == pytest.approx(wilcoxon(own).pvalue)
        assert result.statistic == pytest.approx(own.mean() / own.std(ddof=1))
        assert result.null_mean == pytest.approx(record.auroc_of("clean", "logits").mean())
        assert (result.n, result.unit) == (30, "perturbation")
        used = json.loads(result.settings_used)
        assert used["read_out"] == "logits"
        assert used["family"] == "scgpt"
    assert results["E5.6"].p < 1e-4
    assert results["E5.6"].ci_high < 0


def test_the_dose_response_is_the_slope_of_numpy(ask):
    inputs = ask(effects=dict(zip(TOP, (-0.02, -0.04, -0.09, -0.25), strict=True)))
    result, record = rows_of(inputs)["E5.5"], inputs.interventions
    sizes = [0, 5, 10, 20, 50]
    values = np.array([record.auroc_of("clean", "logits"), *(record.auroc_of(name, "logits") for name in TOP)])
    slopes = np.polyfit(sizes, values, 1)[0]
    assert result.effect == pytest.approx(slopes.mean())
    assert result.p == pytest.approx(wilcoxon(slopes, alternative="less").pvalue)
    assert result.p < 1e-4
    assert result.ci_low < result.effect < result.ci_high < 0
    assert json.loads(result.settings_used)["sizes"] == sizes


def test_no_dose_response_without_an_effect(ask):
    inputs = [ask(seed=seed) for seed in range(20)]
    p = [signed_rank(dose_slopes(one.interventions, "logits")[0], "less").p for one in inputs]
    assert rows_of(inputs[0])["E5.5"].p == p[0]
    assert np.sum(np.array(p) <= 0.05) <= 4  # 20 at .05: 1 expected, more than 4 has p < .003


def test_without_logits_the_last_attention_is_read_and_what_cannot_act_says_so(ask):
    results = rows_of(ask(logits=False))
    assert {json.loads(r.settings_used)["read_out"] for r in results.values()} == {"last_attention"}
    assert {r.reason for r in results.values()} == {""}  # layer 15 lies before the last of 18
    small = rows_of(ask(logits=False, shape=(4, 81), read_out=2))
    assert small["E5.7"].reason == STRUCTURAL
    assert (small["E5.7"].p, small["E5.7"].effect) == (1.0, 0.0)
    assert small["E5.6"].reason == ""


def test_a_small_model_tells_doses_apart_or_says_that_it_cannot(ask):
    results = rows_of(ask(shape=(4, 8), read_out=3))
    assert results["E5.2"].reason == "same as E5.1"
    assert results["E5.10"].reason == "same as E5.9"
    assert json.loads(results["E5.5"].settings_used)["sizes"] == [0, 1, 2, 5]
    tiny = rows_of(ask(shape=(2, 2), read_out=1))
    assert tiny["E5.5"].status is Status.SKIPPED
    assert "fewer than two numbers" in tiny["E5.5"].reason


def test_one_size_is_no_dose_response(ask):
    assert dose_slopes(ask(shape=(2, 2), read_out=1).interventions, "logits") is None


def test_heads_that_do_not_exist_before_the_read_out(ask):
    results = rows_of(ask(read_out=0))
    for test_id in (*AGAINST_RANDOM, "E5.9", "E5.10"):
        assert results[test_id].status is Status.SKIPPED
        assert "fewer heads lie before" in results[test_id].reason
    assert results["E5.6"].p is not None


def test_reasons(ask):
    for family, said in (("geneformer", "family geneformer: analyses 29, 32, 34 and 36"), ("", "do not name")):
        results = rows_of(ask(family=family))
        assert {r.status for r in results.values()} == {Status.SKIPPED}
        assert all(said in r.reason for r in results.values())
    inputs = ask()
    table = replace(inputs, interventions=None, absent={"interventions": "an edge table has no heads"})
    assert {r.reason for r in rows_of(table).values()} == {"an edge table has no heads"}
    aurocs = inputs.interventions.aurocs
    frozen = replace(inputs.interventions, aurocs=aurocs[aurocs["read_out"] == "attention"])
    assert all("nothing is read behind" in r.reason for r in rows_of(replace(inputs, interventions=frozen)).values())


def test_the_row_declares_the_settings_it_reads(ask):
    entry, inputs = next(entry for entry in ROWS if entry.number == 5), ask()
    only = {name: inputs.settings[name] for name in entry.settings}
    assert len(entry.run(replace(inputs, settings=only)).results) == 10
    for name in entry.settings:
        fewer = {key: value for key, value in only.items() if key != name}
        with pytest.raises(ValueError, match=name):
            entry.run(replace(inputs, settings=fewer))


def test_the_same_inputs_give_the_same_bytes(ask):
    one, other = (hook_ablation(ask(seed=2)) for _ in range(2))
    assert one.results == other.results
    assert one.tables["hook_ablation"].equals(other.tables["hook_ablation"])
