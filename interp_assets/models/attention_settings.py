"""Settings of an extraction, and the key that says whether a stored one may be used again.

What belongs here: what can be chosen, and everything the stored bytes depend on. What does not: the extraction.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.metadata import version
from typing import Any, Literal

import numpy as np

from interp_assets.cells.records import PreparedCells
from interp_assets.models.adapter import Duplicates
from interp_assets.models.attention_kernel import ROW_BLOCKS
from interp_assets.models.attention_store import canonical_json
from interp_assets.models.releases import Release

# Raised whenever the sums of an unchanged plan change by a bit.
KERNEL_VERSION = 1
LIBRARIES = ("numba", "numpy", "scipy", "torch", "transformers")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionSettings:
    """How attention is extracted. The first block changes last bits and belongs to the key, the second does not.

    ``heads`` ``auto`` keeps single heads if L x H x G x G x 4 bytes fit ``memory_budget_gib`` (peak memory is
    about twice that), otherwise the head mean only. ``form`` ``auto`` takes the log-sum-exp kernel where the
    device has it, otherwise the full softmax. ``batch_tokens`` bounds the padded tokens of a batch; a CUDA run
    out of memory halves it, starts its plan again and records that.

    ``threads`` None leaves torch's number; ``progress`` None shows a bar on a terminal only;
    ``checkpoint_seconds`` is the least time between two checkpoints of a run.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    heads: Literal["auto", "all", "mean"] = "auto"
    memory_budget_gib: float = 0.6
    form: Literal["auto", "logsumexp", "softmax"] = "auto"
    batch_tokens: int = 2048
    cells_per_shard: int = 256
    duplicates: Duplicates = "refuse"

    threads: int | None = None
    progress: bool | None = None
    checkpoint_seconds: float = 30.0

    def keyed(self) -> dict[str, Any]:
        """The settings that belong to the key."""
        free = {"threads", "progress", "checkpoint_seconds"}
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


def request_keys(release: Release, cells: PreparedCells, settings: ExtractionSettings, device: str) -> RequestKeys:
    """Keys of one extraction."""
    control = cells.counts[np.flatnonzero(cells.control)]
    digest = sha256()
    for part in (control.indptr, control.indices, control.data):
        digest.update(str(part.dtype).encode() + np.ascontiguousarray(part).tobytes())
    for names in (cells.genes, cells.universe):
        digest.update("\n".join(map(str, names)).encode() + b"\0")
    request = {
        "release": [release.release_id, release.name, release.gene_key],
        "cells": [cells.cells_hash, digest.hexdigest()],
        "settings": settings.keyed(),
        "device": device,
        "kernel": [KERNEL_VERSION, ROW_BLOCKS],
        "versions": library_versions(),
    }
    content = sha256(canonical_json(request).encode()).hexdigest()
    return RequestKeys(sha256(f"{cells.dataset} {content}".encode()).hexdigest(), content)


def request_key(release: Release, cells: PreparedCells, settings: ExtractionSettings, device: str) -> str:
    """Key of one extraction; see `RequestKeys`."""
    return request_keys(release, cells, settings, device).key
