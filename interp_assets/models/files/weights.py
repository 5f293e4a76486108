"""Weights of a release by name, wherever its files hold them: one file, shards, safetensors or torch.

What belongs here: which listed files are the weights, and reading all of them. What does not: reading one file
(`checkpoints.read_state_dict`), or which names a family needs.

Names are those every library writes: ``model.safetensors``, ``pytorch_model.bin`` and their shards with an index
(``model.safetensors.index.json``: ``{"weight_map": {tensor: file}}``), scGPT's ``best_model.pt``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from interp_assets.models.files.checkpoints import JSON_LIMIT, read_json, read_state_dict
from interp_assets.models.files.file_rules import ManifestError, MissingFileError
from interp_assets.models.files.releases import Release
from interp_assets.models.files.tensor_headers import TensorHeader, tensor_headers

# First match counts: a folder that offers safetensors and a pickle beside it is read without the pickle.
WEIGHT_FILES: Final = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "best_model.pt",
)
# Keys under which training scripts keep named tensors beside counters and optimiser states.
WRAPPERS: Final = ("model_state_dict", "state_dict", "model")
_REMEDY: Final = "Use the complete checkpoint: the index and every shard it names."


def weights_entry(paths: Iterable[str]) -> str | None:
    """The path that stands for the weights among those of a folder: a weights file or an index; None without one.

    >>> weights_entry(["config.json", "pytorch_model.bin", "model.safetensors"])
    'model.safetensors'
    """
    held = set(paths)
    return next((name for name in WEIGHT_FILES if name in held), None)


def shards_of(index: Path) -> dict[str, list[str]]:
    """Tensors of each shard by file name, as an index says.

    Raises
    ------
    ReleaseFileError
        If the index is no such JSON, or names a file that is not beside it.
    """
    content = read_json(index, limit=JSON_LIMIT)
    named = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(named, dict) or not named:
        raise ManifestError(index, "has no `weight_map` of tensors to files", _REMEDY)
    shards: dict[str, list[str]] = {}
    for tensor, file in named.items():
        if not isinstance(file, str) or not file or "/" in file or "\\" in file or file.startswith("."):
            raise ManifestError(index, f"names {str(file)[:80]!r} as a file of weights", _REMEDY)
        shards.setdefault(file, []).append(tensor)
    return shards


def weight_paths(release: Release) -> tuple[Path, ...]:
    """Listed files that hold the weights of a release, the shards of an index in the order of their names.

    Raises
    ------
    MissingFileError
        If the release lists no weights under a known name, or the index names a file it does not list.
    ManifestError
        If the index cannot be read.
    """
    entry = weights_entry(file.path for file in release.files)
    if entry is None:
        known = ", ".join(WEIGHT_FILES)
        raise MissingFileError(release.folder, "lists no weights", f"List the weights under a known name: {known}.")
    path = release.file(entry)
    if not entry.endswith(".index.json"):
        return (path,)
    return tuple(release.file(name) for name in sorted(shards_of(path)))


def weight_headers(release: Release) -> dict[str, TensorHeader]:
    """Number format and shape of every tensor of a release; the shards agree with their index.

    Raises
    ------
    ReleaseFileError
        If a file is truncated or malformed, or a shard holds other tensors than the index says.
    """
    return _gathered(release, tensor_headers)


def read_weights(release: Release) -> dict[str, Any]:
    """Tensors of a verified release by name, on the processor: the one way in which adapters read weights.

    Where a training script wrapped them (`WRAPPERS`), what lies around them is left alone.

    Raises
    ------
    ReleaseFileError
        If a file is truncated, malformed, or more than tensors; if a shard holds other tensors than the index says.
    """
    return _unwrapped(release, _gathered(release, read_state_dict))


def _unwrapped(release: Release, state: dict[str, Any]) -> dict[str, Any]:
    inner = next((state[name] for name in WRAPPERS if isinstance(state.get(name), Mapping)), state)
    wrong = [
        str(name) for name, part in inner.items() if not isinstance(name, str) or not hasattr(part, "untyped_storage")
    ]
    if wrong or not inner:
        found = f"hold {wrong[0]}, which is no tensor" if wrong else "hold no tensor"
        raise ManifestError(
            release.folder, f"weights {found}", f"Save named tensors, or wrap them as {' or '.join(WRAPPERS)}."
        )
    return dict(inner)


def _gathered(release: Release, read: Any) -> dict[str, Any]:
    paths = weight_paths(release)
    promised: Mapping[str, list[str]] = {}
    entry = str(weights_entry(file.path for file in release.files))
    if entry.endswith(".index.json"):
        promised = shards_of(release.file(entry))
    gathered: dict[str, Any] = {}
    for path in paths:
        held = dict(read(path))
        if promised:
            _same_tensors(path, held, promised[path.name])
        gathered |= held
    return gathered


def _same_tensors(shard: Path, held: Mapping[str, Any], promised: Iterable[str]) -> None:
    lacking, more = sorted(set(promised) - set(held)), sorted(set(held) - set(promised))
    if lacking:
        raise ManifestError(shard, f"lacks {len(lacking)} tensors of the index such as {lacking[0]}", _REMEDY)
    if more:
        raise ManifestError(shard, f"holds {len(more)} tensors the index does not name such as {more[0]}", _REMEDY)
