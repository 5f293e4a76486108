"""Encoders of scGPT's type: exact layers, interventions by hand, bit for bit restored, and E5 from end to end."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from interp_assets.analyses.hook_ablation import hook_ablation
from interp_assets.analyses.inputs import AnalysisInputs
from interp_assets.interventions.measure import measure_interventions
from interp_assets.interventions.self_test import check_interventions
from interp_assets.models.adapter import TokenBatch, load_model
from interp_assets.models.families.encoder_layers import FusedLayer, LayerBlocks, fused_layer
from interp_assets.models.files.releases import read_release
from interp_assets.models.interventions import Intervention, InterventionError, InterventionModel
from qc_standards.extended import extended_tests_of
from tests.unit.interventions import example_scgpt as example
from tests.unit.models import example_scgpt_folder as layout

FORMS = ("logsumexp", "softmax")
KINDS = [
    {"norm_first": norm_first, "activation": activation}
    for norm_first, activation in itertools.product((False, True), ("relu", "gelu"))
]
LENGTHS = np.array([11, 7, 4])
CHANGES = {
    "nothing": {},
    "one head": {"zero": ((1, 2),)},
    "a whole layer": {"zero": tuple((1, head) for head in range(4))},
    "uniform heads": {"uniform": ((0, 2), (1, 0), (2, 3))},
    "feed-forward layers": {"mlp": (0, 2)},
    "all kinds": {"zero": ((1, 0), (2, 3)), "uniform": ((1, 1), (0, 3)), "mlp": (1,)},
}


@pytest.fixture(scope="module")
def model():
    return example.ToyScgpt()


@pytest.fixture(scope="module")
def token_batch() -> TokenBatch:
    rng = np.random.default_rng(2)
    tokens = np.full((3, 11), example.PAD, dtype=np.int64)
    for row, length in enumerate(LENGTHS):
        genes = rng.choice(30, length - 1, replace=False)
        tokens[row, :length] = [example.CLS, *(2 + genes * example.BINS + rng.integers(0, example.BINS, length - 1))]
    return TokenBatch(tokens=tokens, lengths=LENGTHS)


def states(model, batch, form="logsumexp", **change):
    """States before the first and behind every layer, and the softmax weights of every layer where they exist."""
    found: dict[int, torch.Tensor] = {}
    blocks = model.blocks(batch, form=form)
    with model.intervening(Intervention(**change) if change else None):
        hidden = [blocks.start()]
        for layer in range(model.describe().layers):
            hidden.append(
                blocks.step(
                    layer,
                    hidden[-1],
                    lambda at, told: found.update({at: told.weights if told.weights is not None else told.logsumexp}),
                )
            )
    return hidden, found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind.values())))
@pytest.mark.parametrize("form", FORMS)
def test_layers_equal_those_of_torch(kind, form):
    modules = example.torch_layers(2, 16, 4, 24, seed=5, **kind)
    layers = [fused_layer(module.state_dict(), "", heads=4, **kind) for module in modules]
    hidden = torch.randn((3, 11, 16), generator=torch.Generator().manual_seed(1))
    padding = torch.arange(11)[None] >= torch.from_numpy(LENGTHS)[:, None]
    batch = TokenBatch(tokens=np.zeros((3, 11), dtype=np.int64), lengths=LENGTHS)
    weights = []
    found = LayerBlocks(layers, hidden, batch, form).run(lambda _, told: weights.append(told.weights))
    expected = hidden
    for number, module in enumerate(modules):
        if form == "softmax":
            given = module.norm1(expected) if kind["norm_first"] else expected
            _, told = module.self_attn(
                given, given, given, key_padding_mask=padding, need_weights=True, average_attn_weights=False
            )
            torch.testing.assert_close(weights[number], told, atol=1e-5, rtol=1e-4)
        # gradients on: torch takes its plain path; off, the fused one that no hook reaches
        with torch.set_grad_enabled(number == 0):
            expected = module(expected, src_key_padding_mask=padding)
    real = ~padding
    torch.testing.assert_close(found[real], expected[real].detach(), atol=2e-5, rtol=1e-4)


def test_the_layouts_of_one_set_of_weights_are_one_layer():
    state = example.torch_layers(1, 16, 4, 24)[0].state_dict()
    prefixed = {f"transformer_encoder.layers.0.{name}": tensor for name, tensor in state.items()}
    flash, wrapped = example.flash_names(state), example.flash_names(state, wrapped=True)
    made = [fused_layer(given, "", heads=4) for given in (state, flash, wrapped)]
    made.append(fused_layer(prefixed, "transformer_encoder.layers.0.", heads=4))
    assert "self_attn.Wqkv.weight" in flash
    assert "self_attn._impl.out_proj.bias" in wrapped
    for layer in made[1:]:
        for part in ("fused", "out", "first", "second", "norm1", "norm2"):
            for one, other in zip(getattr(layer, part), getattr(made[0], part), strict=True):
                assert torch.equal(one, other), part


@pytest.mark.parametrize(
    ("change", "heads", "said"),
    [
        ({"linear2.bias": None}, 4, "no weight and bias of linear2"),
        ({"self_attn.in_proj_weight": None}, 4, "self_attn.Wqkv or self_attn._impl.Wqkv or self_attn.in_proj"),
        ({"norm1.weight": torch.zeros(8)}, 4, r"norm1 has shapes \(8,\) and \(16,\)"),
        ({"linear2.weight": torch.zeros(16, 20)}, 4, r"second has shapes \(16, 20\)"),
        ({}, 3, "3 heads do not divide a width of 16"),
    ],
)
def test_incomplete_layers_are_refused(change, heads, said):
    state = example.torch_layers(1, 16, 4, 24)[0].state_dict() | change
    with pytest.raises(ValueError, match=said):
        fused_layer({name: tensor for name, tensor in state.items() if tensor is not None}, "", heads=heads)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_interventions_equal_the_layer_written_by_hand(model, token_batch, form, change):
    found, weights = states(model, token_batch, form, **change)
    clean, _ = states(model, token_batch, form)
    for row, length in enumerate(LENGTHS):
        x = found[0][row, :length].double()
        for layer, module in enumerate(model.modules):
            x, softmax = example.naive_layer(
                module,
                x,
                zero=[head for at, head in change.get("zero", ()) if at == layer],
                uniform=[head for at, head in change.get("uniform", ()) if at == layer],
                mlp=layer in change.get("mlp", ()),
            )
            torch.testing.assert_close(found[layer + 1][row, :length].double(), x, atol=5e-5, rtol=1e-4)
            if form == "softmax":  # as the head computed it, before it is silenced
                torch.testing.assert_close(
                    weights[layer][row, :, :length, :length].double(), softmax, atol=2e-5, rtol=1e-4
                )
    gap = float((found[-1] - clean[-1])[0, : LENGTHS[0]].abs().max())
    assert (gap > 0.05) == bool(change), gap  # far larger than the tolerance


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("fails", [False, True], ids=["closed", "broken off"])
def test_afterwards_the_model_is_the_same_bit_for_bit(model, token_batch, form, fails):
    kept = [{name: tensor.clone() for name, tensor in module.state_dict().items()} for module in model.modules]
    before, _ = states(model, token_batch, form)
    try:
        with model.intervening(Intervention(**CHANGES["all kinds"])):
            changed = model.blocks(token_batch, form=form).run(lambda *_: None)
            if fails:
                raise RuntimeError("in the middle of a run")
    except RuntimeError:
        assert fails
    after, _ = states(model, token_batch, form)
    assert not torch.equal(changed, before[-1])
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    for module, weights in zip(model.modules, kept, strict=True):
        assert all(torch.equal(tensor, weights[name]) for name, tensor in module.state_dict().items())


def test_a_part_that_does_not_exist_is_refused_before_anything_runs(model):
    for change in ({"zero": ((4, 0),)}, {"uniform": ((0, 4),)}, {"mlp": (9,)}, {}):
        with pytest.raises(InterventionError), model.intervening(Intervention(**change)):
            pytest.fail("the context was opened")


def test_hooks_on_the_modules_of_torch_are_never_called(model):
    """Why layers are run from their weights: a hook on the output projection of torch would be a silent null."""
    module, called = model.modules[0], []
    hook = module.self_attn.out_proj.register_forward_pre_hook(lambda *_: called.append("out_proj"))
    try:
        with torch.enable_grad():
            module(torch.randn((1, 5, 16), generator=torch.Generator().manual_seed(0)))
    finally:
        hook.remove()
    assert called == []


@dataclass(frozen=True, slots=True, kw_only=True)
class Deaf(FusedLayer):
    """A layer that computes its attention by itself and ignores the context vectors it is given."""

    def attended(self, hidden, context):
        own = torch.nn.functional.scaled_dot_product_attention(*self.projected(hidden))
        return FusedLayer.attended(self, hidden, own.transpose(1, 2).flatten(2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stubborn(FusedLayer):
    """A layer whose feed-forward part acts whatever it is told."""

    def fed(self, hidden, change):
        return FusedLayer.fed(self, hidden, self.feed_forward(hidden))


@pytest.mark.parametrize("form", FORMS)
def test_the_self_test_passes_this_model_and_refuses_one_that_is_deaf(token_batch, form):
    model = example.ToyScgpt(layers=3)
    assert isinstance(model, InterventionModel)
    check_interventions(model, token_batch, form)
    for kind, said in (
        (Deaf, "silenced heads in layer 1 changed nothing"),
        (Stubborn, "a silenced feed-forward layer"),
    ):
        other = example.ToyScgpt(layers=3)
        parts = {name: getattr(other.layers[1], name) for name in FusedLayer.__dataclass_fields__}
        other.layers[1] = kind(**parts)
        with pytest.raises(InterventionError, match=said):
            check_interventions(other, token_batch, form)


@pytest.fixture(scope="module")
def record(cells, screen, plan):
    """Every condition on a model of 4 layers x 8 heads, so that several doses can be told apart."""
    model = example.ToyScgpt(layers=4, heads=8, width=32)
    return measure_interventions(model, cells, screen, plan)


def inputs_of(record) -> AnalysisInputs:
    role = SimpleNamespace(
        role="primary_screen",
        dataset="toy",
        data_origin="simulated",
        role_fit="full",
        cells_hash="c" * 64,
        attention=SimpleNamespace(layers=4),
    )
    settings = {"analysis_depth": 2 / 3, "bootstrap": 50, "intervention_tokens": 0, "random_head_sets": 3}
    return AnalysisInputs(
        study="toy",
        release="toy",
        tests=extended_tests_of(5),
        roles={"primary_screen": role},
        settings={**settings, "min_positives": 3, "min_negatives": 3},
        interventions=record,
    )


def test_every_condition_runs_on_this_model_and_fills_the_rows_of_e5(record):
    assert record.facts["family"] == "scgpt"
    assert record.facts["read_outs"] == ["attention", "last_attention"]
    found = hook_ablation(inputs_of(record))
    table = found.tables["hook_ablation"].set_index(["read_out", "condition"])
    by_id = {result.test_id: result for result in found.results}
    assert by_id["E5.2"].reason == "same as E5.1"  # 5 and 10 of 324 are both one of 32
    for test_id, name in (("E5.1", "upstream-top-5"), ("E5.3", "upstream-top-20"), ("E5.4", "upstream-top-50")):
        result = by_id[test_id]
        assert result.effect == pytest.approx(table.loc[("last_attention", name), "delta"])
        assert result.n == result.resamples_done == 3
        assert result.p in {0.25, 0.5, 0.75, 1.0}
        assert json.loads(result.settings_used)["read_out"] == "last_attention"
    clean = record.auroc_of("clean", "last_attention")
    changed = record.auroc_of("mlp-8", "last_attention") - clean
    assert by_id["E5.6"].effect == pytest.approx(changed.mean())
    assert np.ptp(changed.to_numpy()) > 0  # the layer really acts on what is read behind it
    assert by_id["E5.7"].reason.startswith("structural zero")  # 15 of 17 is the last of 4 layers
    assert by_id["E5.7"].effect == 0


def test_a_release_in_scgpt_layout_goes_through_every_condition(cells, screen, plan, tmp_path):
    args = layout.args_of(layers=4, heads=8, width=32, length=20)
    folder = layout.write_scgpt(tmp_path / "s", [str(gene) for gene in cells.genes], args=args)
    record = measure_interventions(load_model(read_release(folder)), cells, screen, plan)
    assert record.facts["family"] == "scgpt"
    assert record.facts["read_outs"] == ["attention", "last_attention"]  # values are predicted, no tokens
    conditions = record.conditions.set_index("condition")
    assert conditions["changed"].all()
    assert conditions["logit_distance"].isna().all()
    assert set(record.fidelity["state"]) == {"hidden"}
    assert set(record.fidelity["layer"]) == set(range(4))
    by_id = {result.test_id: result for result in hook_ablation(inputs_of(record)).results}
    assert np.isfinite(by_id["E5.1"].effect)
    assert np.isfinite(by_id["E5.6"].effect)


def test_the_same_model_under_another_family_is_left_to_the_declared_analyses(record):
    for family, said in (("geneformer", "family geneformer: analyses 29, 32, 34 and 36"), ("", "do not name")):
        found = hook_ablation(inputs_of(replace(record, facts={**record.facts, "family": family})))
        assert {result.status.value for result in found.results} == {"skipped"}
        assert all(said in result.reason for result in found.results)
