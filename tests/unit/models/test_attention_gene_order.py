"""The addition in gene order equals the numba kernel and a float64 softmax; so does the Triton kernel, interpreted."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from interp_assets.models.adapter import LayerAttention
from interp_assets.models.attention.gene_order import add_gene_order, dense_block, gene_order
from interp_assets.models.attention.kernel import add_attention, add_logsumexp, heads_part, kernel_for

GENES = 70
LENGTHS = (41, 33, 29, 5)


def batch(peak: float = 1.0, causal: bool = False, heads: int = 3, width: int = 12):
    """Padded cells: attention, positions of scored genes, sums by a float64 softmax, and the error of a float32 one."""
    import torch

    generator = torch.Generator().manual_seed(3)
    rng = np.random.default_rng(4)
    size = (len(LENGTHS), max(LENGTHS), heads, width)
    query, key = (torch.randn(size, generator=generator) * peak for _ in range(2))
    scale = width**-0.5
    scores = torch.einsum("bihd,bjhd->bhij", query.double(), key.double()) * scale
    where, gene, offsets = [], [], [0]
    exact, single = np.zeros((heads, GENES, GENES)), np.zeros((heads, GENES, GENES))
    for cell, length in enumerate(LENGTHS):
        scores[cell, :, :, length:] = -torch.inf
        if causal:
            later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
            scores[cell] = scores[cell].masked_fill(later, -torch.inf)
        spots = np.sort(rng.permutation(length)[: (4 * length) // 5])
        genes = rng.permutation(GENES)[: spots.size]
        order = np.argsort(genes)
        where.append(spots[order])
        gene.append(genes[order])
        offsets.append(offsets[-1] + spots.size)
        pairs, spot = np.ix_(range(heads), gene[-1], gene[-1]), np.ix_(range(heads), where[-1], where[-1])
        exact[pairs] += torch.softmax(scores[cell], -1).numpy()[spot]
        # scores in float32 as an eager forward pass makes them
        rough = (torch.einsum("ihd,jhd->hij", query[cell], key[cell]) * scale).masked_fill(scores[cell].isinf(), -1e38)
        single[pairs] += torch.softmax(rough, -1).numpy()[spot]
    positions = (
        np.concatenate(where).astype(np.int32), np.concatenate(gene).astype(np.int32), np.array(offsets, np.int64)
    )  # fmt: skip
    attention = LayerAttention(
        form="logsumexp", query=query, key=key, logsumexp=torch.logsumexp(scores, -1).float(), scale=scale,
        causal=causal,
    )  # fmt: skip
    return attention, positions, exact, np.abs(single - exact).max()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("peak", [1.0, 2.0])
def test_gene_order_equals_float64_softmax_and_the_numba_kernel(peak, causal):
    import torch

    attention, positions, exact, error = batch(peak, causal)
    tolerance = max(1e-6, 4 * error)
    order = gene_order(positions, GENES, "cpu")
    found = torch.zeros(exact.shape)
    add_gene_order(found, attention, order, heads=True)
    numba = np.zeros(exact.shape, dtype=np.float32)
    add_logsumexp(numba, attention, positions, heads=True)
    assert exact.max() > 0.2
    assert error < 5e-6
    assert np.abs(found.numpy() - exact).max() <= tolerance
    assert np.abs(numba - exact).max() <= tolerance
    assert np.array_equal(found.numpy() == 0, exact == 0)
    mean = torch.zeros(exact.shape[1:])
    add_gene_order(mean, attention, order, heads=False)
    assert np.abs(mean.numpy() - exact.sum(0)).max() <= exact.shape[0] * tolerance


def test_rows_and_columns_of_absent_genes_are_zero_and_rows_of_present_ones_at_most_one():
    attention, positions, _, _ = batch()
    order = gene_order(positions, GENES, "cpu")
    block = dense_block(attention, order, 3, slice(0, 3))
    present = np.isin(np.arange(GENES), positions[1][positions[2][3] :])
    assert present.sum() == 4
    assert (block[:, ~present] == 0).all()
    assert (block[:, :, ~present] == 0).all()
    rows = block[:, present].sum(-1)
    assert (rows > 0).all()
    assert (rows <= 1 + 1e-6).all()


def test_heads_in_several_products_are_the_heads_in_one(monkeypatch):
    import torch

    from interp_assets.models.attention import gene_order as attention_gene_order

    attention, positions, exact, _ = batch()
    order = gene_order(positions, GENES, "cpu")
    found = []
    for room in (attention_gene_order.BLOCK_BYTES, 1):
        monkeypatch.setattr(attention_gene_order, "BLOCK_BYTES", room)
        found.append(torch.zeros(exact.shape))
        add_gene_order(found[-1], attention, order, heads=True)
    torch.testing.assert_close(*found, atol=1e-7, rtol=1e-6)


def test_bfloat16_queries_are_added_in_float32():
    import torch

    attention, positions, exact, _ = batch()
    rough = LayerAttention(
        form="logsumexp",
        query=attention.query.bfloat16(),
        key=attention.key.bfloat16(),
        logsumexp=attention.logsumexp,
        scale=attention.scale,
    )
    found, again = torch.zeros(exact.shape), np.zeros(exact.shape, dtype=np.float32)
    add_gene_order(found, rough, gene_order(positions, GENES, "cpu"), heads=True)
    add_logsumexp(again, rough, positions, heads=True)
    assert found.dtype == torch.float32
    assert np.abs(found.numpy() - again).max() <= 1e-6
    assert 1e-5 < np.abs(found.numpy() - exact).max() < 0.05


def test_a_gene_at_two_positions_has_no_gene_order():
    positions = (np.array([1, 2, 3], np.int32), np.array([5, 5, 6], np.int32), np.array([0, 3], np.int64))
    with pytest.raises(ValueError, match="several positions"):
        gene_order(positions, 8, "cpu")


def test_kernels_are_chosen_by_form_and_device_and_refused_where_they_cannot_run(monkeypatch):
    from interp_assets.models.attention import kernel as attention_kernel

    monkeypatch.setattr(attention_kernel, "triton_usable", lambda device: device == "cuda")
    assert kernel_for("softmax", "cuda") == "softmax"
    assert kernel_for("logsumexp", "cpu") == "numba"
    assert kernel_for("logsumexp", "cuda") == "triton"
    assert kernel_for("logsumexp", "cuda", "gene_order") == "gene_order"
    monkeypatch.setattr(attention_kernel, "triton_usable", lambda device: False)
    assert kernel_for("logsumexp", "cuda") == "gene_order"
    for form, device, wanted, message in (
        ("softmax", "cpu", "numba", "full softmax"),
        ("logsumexp", "cuda", "numba", "on the processor"),
        ("logsumexp", "cpu", "triton", "CUDA device"),
    ):
        with pytest.raises(ValueError, match=message):
            kernel_for(form, device, wanted)


@pytest.mark.parametrize("kernel", ["numba", "gene_order", "softmax"])
def test_every_kernel_adds_the_listed_heads_as_it_adds_all(kernel):
    import torch

    attention, positions, exact, _ = batch()
    if kernel == "softmax":
        weights = torch.exp(
            torch.einsum("bihd,bjhd->bhij", attention.query, attention.key) * attention.scale
            - attention.logsumexp[..., None]
        )
        attention = LayerAttention(form="softmax", weights=weights)
    every, some = torch.zeros(exact.shape), torch.zeros((2, GENES, GENES))
    add_attention(every, attention, positions, heads=True, kernel=kernel)
    add_attention(some, heads_part(attention, (0, 2)), positions, heads=True, kernel=kernel)
    assert np.abs(every.numpy() - exact).max() <= 1e-6
    torch.testing.assert_close(some, every[[0, 2]], atol=1e-7, rtol=1e-6)


def test_genes_of_several_tokens_are_added_token_by_token_where_there_is_no_gene_order():
    import torch

    attention, (where, gene, offsets), _, _ = batch()
    pooled = (where, gene // 2, offsets)
    found, numba = torch.zeros((3, GENES, GENES)), torch.zeros((3, GENES, GENES))
    add_attention(found, attention, pooled, heads=True, kernel="gene_order")
    add_attention(numba, attention, pooled, heads=True, kernel="numba")
    assert np.unique(gene // 2).size < np.unique(gene).size
    torch.testing.assert_close(found, numba, atol=1e-6, rtol=1e-5)


# In processes of their own: Triton decides between compiler and interpreter when it is imported.
_INTERPRETED = """
import numpy as np, torch
from test_attention_gene_order import GENES, batch
from interp_assets.models.attention.gene_order import add_gene_order, gene_order
from interp_assets.models.attention.kernel import kernel_for
from interp_assets.models.attention.triton_kernel import add_gene_order_triton
assert kernel_for("logsumexp", "cpu", "triton") == "triton"
for causal in (False, True):
    attention, positions, exact, _ = batch(2.0, causal)
    order = gene_order(positions, GENES, "cpu")
    for heads in (True, False):
        found, reference = (torch.full(exact.shape if heads else exact.shape[1:], 0.5) for _ in range(2))
        add_gene_order_triton(found, attention, order, heads=heads)
        add_gene_order(reference, attention, order, heads=heads)
        wanted = exact if heads else exact.sum(0)
        print(causal, heads, float((found - reference).abs().max()), np.abs(found.numpy() - 0.5 - wanted).max())
        assert np.abs(found.numpy() - 0.5 - wanted).max() <= 3e-6
        assert float((found - reference).abs().max()) <= 3e-6
"""


_COMPILED = """
import re
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from interp_assets.models.attention.triton_kernel import _add_tile
signature = {part.name: "i32" for part in _add_tile.params}
signature |= {"sums": "*fp32", "query": "*fp32", "key": "*fp32", "logsumexp": "*fp32", "place": "*i32", "scale": "fp32"}
fixed = {"EACH_HEAD": False, "CAUSAL": True, "SIDE": 64, "WIDTH": 64}
signature |= dict.fromkeys(fixed, "constexpr")
made = compile(ASTSource(_add_tile, signature=signature, constexprs=fixed), target=GPUTarget("cuda", 90, 32))
code = made.asm["ptx"]
assert "cubin" in made.asm and "ex2" in code
assert not re.search(r"\\b(atom|red)\\.", code) and "tf32" not in code
"""


def in_own_process(code: str, cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    where = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    given = {**os.environ, "PYTHONPATH": where, "TRITON_CACHE_DIR": str(cache), **environment}
    return subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True, check=False)


@pytest.mark.skipif(find_spec("triton") is None, reason="the triton package is not installed")
def test_interpreted_triton_kernel_equals_the_reference(tmp_path):
    done = in_own_process(_INTERPRETED, tmp_path, TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(done.stdout.splitlines()) == 4


@pytest.mark.skipif(find_spec("triton") is None, reason="the triton package is not installed")
def test_triton_kernel_compiles_for_cuda_without_atomics_and_without_tf32(tmp_path):
    done = in_own_process(_COMPILED, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
