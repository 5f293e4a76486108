"""Settings of an extraction, and the key that says whether a stored one may be used again.

What belongs here: what can be chosen, and everything the stored bytes depend on. What does not: the extraction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.metadata import version
from typing import Any, Literal

from interp_assets.cells.count_sources import CountSource, add_content, control_counts
from interp_assets.cells.records import PreparedCells
from interp_assets.models.adapter import Duplicates, Encoding
from interp_assets.models.attention.budget import heads_text
from interp_assets.models.attention.edge_rules import EdgeRule
from interp_assets.models.attention.kernel import ROW_BLOCKS
from interp_assets.models.attention.store import canonical_json
from interp_assets.models.files.releases import Release

# Raised whenever the sums of an unchanged plan change by a bit.
KERNEL_VERSION = 1
# What a manifest may ask of the encoding. It stands in no file, so that the release id does not tell it.
MANIFEST_SETTINGS = ("dictionaries", "max_genes", "max_length", "prompt")
LIBRARIES = ("numba", "numpy", "scipy", "torch", "transformers")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionSettings:
    """How attention is extracted. The first block changes last bits and belongs to the key, the second does not.

    ``heads`` ``auto`` keeps all heads if L x H x G x G x 4 bytes fit ``memory_budget_gib``, otherwise the head mean
    only; ``all``, ``mean``, or a list of layer.head (text or a mapping, see `heads_text`) is kept whatever the budget.
    Sums that do not fit at once are made in passes over groups of layers (see `budget`), which alters no bit:
    the budget belongs to the key only where ``auto`` reads it. ``form`` ``auto`` takes the log-sum-exp where the device
    has it, otherwise the full softmax; ``kernel`` is what adds it (`kernel.kernel_for`). ``batch_tokens``
    bounds the padded tokens of a batch; a CUDA run out of memory halves it, starts its plan again and records that.

    ``edge_rule`` says what a cell's attention says of a pair (`edge_rules`). ``zeros``, ``bin_ties`` and
    ``encoding_seed`` are the choices some families leave (`adapter.Encoding`).

    ``threads`` None leaves torch's number; ``progress`` None shows a bar on a terminal only;
    ``checkpoint_seconds`` is the least time between two checkpoints of a run. ``scheduler`` is the address of a dask
    scheduler whose workers add the shards (`cluster`), None adds them in this process.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    heads: str | Mapping[int, Sequence[int]] = "auto"
    memory_budget_gib: float = 0.6
    form: Literal["auto", "logsumexp", "softmax"] = "auto"
    kernel: Literal["auto", "numba", "gene_order", "triton"] = "auto"
    batch_tokens: int = 2048
    cells_per_shard: int = 256
    duplicates: Duplicates = "refuse"
    edge_rule: EdgeRule = "softmax_mean"
    zeros: Literal["drop", "keep"] = "drop"
    bin_ties: Literal["random", "left"] = "random"
    encoding_seed: int = 0

    threads: int | None = None
    progress: bool | None = None
    checkpoint_seconds: float = 30.0
    scheduler: str | None = None

    def __post_init__(self) -> None:
        """Bring the choice of heads into one spelling, so that equal choices have equal keys."""
        object.__setattr__(self, "heads", heads_text(self.heads))

    @property
    def encoding(self) -> Encoding:
        """How cells are encoded by families that leave a choice."""
        return Encoding(zeros=self.zeros, ties=self.bin_ties, seed=self.encoding_seed)

    def keyed(self) -> dict[str, Any]:
        """The settings that belong to the key."""
        free = {"threads", "progress", "checkpoint_seconds", "scheduler"}
        free |= set() if self.heads == "auto" else {"memory_budget_gib"}
        return {name: value for name, value in asdict(self).items() if name not in free}


def library_versions() -> dict[str, str]:
    """Versions of the libraries whose change may change last bits, without importing them."""
    return {name: version(name) for name in LIBRARIES}


def resolve_device(device: str) -> str:
    """``cpu`` or ``cuda``; ``auto`` takes CUDA where there is one.

    Raises
    ------
    ValueError
        If CUDA is asked for and there is none: a run never moves to another device silently.
    """
    if device == "cpu":
        return device
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise ValueError("device cuda is not available here; use `auto` or `cpu`")
    return "cpu"


@dataclass(frozen=True, slots=True)
class RequestKeys:
    """Sha256 of everything the bytes of an extraction depend on, known before a model is loaded.

    ``key`` names the dataset too; ``content`` does not: datasets that share cells and scored genes share attention.
    """

    key: str
    content: str


def request_keys(
    release: Release,
    cells: PreparedCells,
    settings: ExtractionSettings,
    device: str,
    counts: CountSource | None = None,
) -> RequestKeys:
    """Keys of one extraction; ``counts`` are those of the control cells, None takes them from ``cells``."""
    digest = sha256()
    add_content(digest, control_counts(cells) if counts is None else counts)
    for names in (cells.genes, cells.universe):
        digest.update("\n".join(map(str, names)).encode() + b"\0")
    request: dict[str, Any] = {
        "release": [release.release_id, release.name, release.gene_key],
        "cells": [cells.cells_hash, digest.hexdigest()],
        "settings": settings.keyed(),
        "device": device,
        "kernel": [KERNEL_VERSION, ROW_BLOCKS],
        "versions": library_versions(),
    }
    asked = {name: release.facts[name] for name in MANIFEST_SETTINGS if name in release.facts}
    if asked:
        request["asked"] = asked
    content = sha256(canonical_json(request).encode()).hexdigest()
    return RequestKeys(sha256(f"{cells.dataset} {content}".encode()).hexdigest(), content)


def request_key(release: Release, cells: PreparedCells, settings: ExtractionSettings, device: str) -> str:
    """Key of one extraction; see `RequestKeys`."""
    return request_keys(release, cells, settings, device).key
