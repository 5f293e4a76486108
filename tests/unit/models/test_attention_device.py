"""The CUDA route as far as a processor can show it, memory that runs out, agreement of extractions; CUDA itself."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from interp_assets.models.adapter import load_model
from interp_assets.models.attention import operators
from interp_assets.models.attention.agreement import EDGE_TOLERANCE, compare_edges
from interp_assets.models.attention.extraction import ExtractionSettings, extract_attention
from interp_assets.models.attention.store import open_attention
from interp_assets.models.files.releases import read_release


def quick(**changes) -> ExtractionSettings:
    base = {"device": "cpu", "batch_tokens": 96, "cells_per_shard": 4, "threads": 1, "heads": "all"}
    return ExtractionSettings(**{**base, **changes})


class Small:
    """A model on a device whose memory holds so many padded tokens and no more."""

    def __init__(self, model, most: int) -> None:
        self.describe, self.known, self.encode = model.describe, model.known, model.encode
        self._model, self._most, self.largest = model, most, 0

    def attend(self, batch, sink, *, form):
        import torch

        if batch.tokens.size > self._most:
            # after the first layer, as on a device: some sums of the batch have been added already
            def burst(layer, attention):
                sink(layer, attention)
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

            self._model.attend(batch, burst, form=form)
        self.largest = max(self.largest, batch.tokens.size)
        self._model.attend(batch, sink, form=form)


def test_out_of_memory_halves_the_batch_and_gives_the_bits_of_that_batch_size(write_release, toy_cells, tmp_path):
    release = read_release(write_release(peak=5.0))
    models: list[Small] = []

    def load(*given, **settings):
        models.append(Small(load_model(*given, **settings), 50))
        return models[-1]

    with pytest.warns(UserWarning, match="out of device memory: batches halved to 48 tokens"):
        edges = extract_attention(release, toy_cells, tmp_path / "small", quick(), load=load)
    assert edges.facts["batch_tokens_used"] == 48
    assert models[0].largest <= 48
    extract_attention(release, toy_cells, tmp_path / "told", quick(batch_tokens=48))
    for path in (tmp_path / "told").glob("*.npy"):
        assert path.read_bytes() == (tmp_path / "small" / path.name).read_bytes()
    again = open_attention(tmp_path / "told")
    assert compare_edges(edges, again).largest == (0.0, 0.0)
    whole = extract_attention(release, toy_cells, tmp_path / "whole", quick())
    assert compare_edges(edges, whole).agrees


def test_one_cell_that_does_not_fit_is_an_error_that_says_what_helps(write_release, toy_cells, tmp_path):
    import torch

    release = read_release(write_release())

    def load(*given, **settings):
        return Small(load_model(*given, **settings), 10)

    with (
        pytest.warns(UserWarning, match="halved"),
        pytest.raises(torch.cuda.OutOfMemoryError) as caught,
    ):
        extract_attention(release, toy_cells, tmp_path / "out", quick(), load=load)
    assert "lower the memory budget" in caught.value.__notes__[0]
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_gene_order_gives_the_edges_of_the_numba_kernel_and_names_itself(write_release, toy_cells, tmp_path):
    release = read_release(write_release(peak=6.0))
    numba = extract_attention(release, toy_cells, tmp_path / "numba", quick())
    torch_ = extract_attention(release, toy_cells, tmp_path / "torch", quick(kernel="gene_order"))
    assert (numba.facts["kernel"], torch_.facts["kernel"]) == ("numba", "gene_order")
    assert numba.facts["key"] != torch_.facts["key"]
    assert numba.facts["tolerance"] == {"absolute": 5e-6, "correlation": 0.99999}
    found = compare_edges(numba, torch_)
    assert found.agrees
    assert max(found.largest) < 1e-6
    for heads in ("mean", "0.1 1.3"):
        other = extract_attention(release, toy_cells, tmp_path / heads, quick(kernel="gene_order", heads=heads))
        assert compare_edges(numba, other).agrees


def test_number_formats_agree_within_the_tolerance_of_the_coarser_one(write_release, toy_cells, tmp_path):
    release = read_release(write_release(peak=4.0))
    exact = extract_attention(release, toy_cells, tmp_path / "fp32", quick())
    rough = extract_attention(release, toy_cells, tmp_path / "bf16", quick(dtype="bfloat16"))
    sums = np.load(tmp_path / "bf16" / "layer-0-heads.npy")
    assert sums.dtype == np.float32
    # the low 16 bits of a bfloat16 are zero; float32 sums fill them
    assert (sums[sums > 0].view(np.uint32) & 0xFFFF).astype(bool).mean() > 0.9
    found = compare_edges(exact, rough)
    assert found.tolerance == EDGE_TOLERANCE["bfloat16"]
    assert found.agrees
    assert max(found.largest) > EDGE_TOLERANCE["float32"].absolute


def test_edges_that_differ_or_cannot_be_compared_are_told_apart(write_release, toy_cells, tmp_path):
    one = extract_attention(read_release(write_release()), toy_cells, tmp_path / "one", quick())
    other = extract_attention(read_release(write_release("other", seed=1)), toy_cells, tmp_path / "other", quick())
    found = compare_edges(one, other)
    assert not found.agrees
    assert max(found.largest) > 1e-3
    fewer = dataclasses.replace(toy_cells, universe=toy_cells.universe[:-3])
    part = extract_attention(read_release(tmp_path / "releases" / "tiny"), fewer, tmp_path / "part", quick())
    for changed, message in (
        (part, "differ in genes"),
        (dataclasses.replace(one, cells_hash="x"), "differ in cells"),
        (dataclasses.replace(one, facts={**one.facts, "dtype": "float16"}), "float16"),
    ):
        with pytest.raises(ValueError, match=message):
            compare_edges(one, changed)


def emulated_operator(query, key, value, bias, compute_log_sumexp, *, is_causal=False, scale=None):
    """What the CUDA operator returns, on the processor: length of the log-sum-exp padded to 32, alignment asked for."""
    import torch

    assert compute_log_sumexp
    assert query.shape[-1] % 8 == 0
    if bias is not None:
        assert bias.shape == (*query.shape[:3], key.shape[2])
        assert bias.stride(-1) == 1
        assert all(step % 16 == 0 for step in bias.stride()[:-1])
    scores = query @ key.transpose(2, 3) * scale + (0.0 if bias is None else bias)
    if is_causal:
        scores = scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), -torch.inf)
    logsumexp = torch.logsumexp(scores.float(), -1)
    padded = torch.nn.functional.pad(logsumexp, (0, -scores.shape[2] % 32), value=torch.inf)
    return torch.softmax(scores, -1) @ value, padded, torch.zeros(()), torch.zeros(())


@pytest.fixture
def emulated(monkeypatch):
    """The CUDA branch of the fused attention on processor tensors, over an operator that behaves like the CUDA one."""
    import torch

    monkeypatch.setattr(torch.ops.aten, "_scaled_dot_product_efficient_attention", emulated_operator, raising=True)
    monkeypatch.setattr(operators, "on_processor", lambda tensor: False)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_the_cuda_branch_gives_context_and_logsumexp_of_the_processor(emulated, monkeypatch, causal, padded):
    import torch

    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn((2, 3, 21, 12), generator=generator) for _ in range(3))
    valid = torch.ones((2, 21), dtype=torch.bool)
    valid[1, 13:] = not padded
    mask = None if causal else operators.narrow_mask(attention_mask=valid)
    assert (mask is None) == (causal or not padded)
    found = operators.fused_attention(query, key, value, mask, 0.3, causal=causal)
    monkeypatch.setattr(operators, "on_processor", lambda tensor: True)
    expected = operators.fused_attention(query, key, value, mask, 0.3, causal=causal)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert operators.logsumexp_agrees("cpu")


def test_an_operator_of_another_logarithm_or_that_does_not_run_is_not_used(emulated, monkeypatch):
    import torch

    assert operators.logsumexp_agrees("cpu")

    def base_two(*given, **settings):
        output, logsumexp, *rest = emulated_operator(*given, **settings)
        return output, logsumexp / np.log(2), *rest

    monkeypatch.setattr(torch.ops.aten, "_scaled_dot_product_efficient_attention", base_two)
    assert not operators.logsumexp_agrees("cpu")

    def refuses(*given, **settings):
        raise RuntimeError("no kernel for this card")

    monkeypatch.setattr(torch.ops.aten, "_scaled_dot_product_efficient_attention", refuses)
    with pytest.warns(UserWarning, match="no kernel for this card"):
        assert not operators.logsumexp_agrees("cpu")


def test_this_torch_has_both_operators_with_the_signature_the_code_was_written_for():
    import torch

    for name, signature in operators.OPERATORS.values():
        assert str(getattr(torch.ops.aten, name).default._schema) == f"aten::{name}{signature}"


class TestOnCuda:
    """What only a CUDA device can show."""

    @pytest.fixture(autouse=True)
    def cuda(self):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device here")

    def test_the_operator_gives_the_natural_logarithm(self):
        assert operators.fused_operator_usable("cuda")

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    @pytest.mark.parametrize("kernel", ["gene_order", "triton"])
    def test_edges_are_those_of_the_processor(self, write_release, toy_cells, tmp_path, dtype, kernel):
        if kernel == "triton":
            pytest.importorskip("triton")
        release = read_release(write_release(peak=6.0))
        exact = extract_attention(release, toy_cells, tmp_path / "cpu", quick(dtype=dtype))
        found = extract_attention(
            release, toy_cells, tmp_path / "cuda", quick(device="cuda", dtype=dtype, kernel=kernel)
        )
        assert compare_edges(exact, found).agrees

    def test_a_second_run_has_the_same_bits(self, write_release, toy_cells, tmp_path):
        release = read_release(write_release(peak=6.0))
        for name in ("one", "two"):
            extract_attention(release, toy_cells, tmp_path / name, quick(device="cuda"))
        for path in (tmp_path / "one").glob("*.npy"):
            assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
