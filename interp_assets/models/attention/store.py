"""Extracted attention on disk: one memory-mappable array a layer, and a manifest written last.

What belongs here: the folder layout, atomic writing, opening, and single heads for later analyses. What does
not: computing the sums (`attention`).

``<folder>/layer-<l>-mean.npy`` holds float32 G x G sums over cells of the head mean; with heads kept,
``layer-<l>-heads.npy`` holds sums of single heads (heads x G x G; the manifest says which); ``counts.npy`` (int32,
G x G) the cells in which both genes were in the sequence; ``genes.json`` the gene names. Row = query = regulator,
column = key = target. Of a model that looks back, sums and counts hold what was possible in one order
(`pooling`); opened scores pool both. A folder without ``manifest.json`` is unfinished and never opened.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interp_assets.edges.records import AttentionEdges, EdgeMatrix
from interp_assets.models.attention.pooling import both_orders
from interp_assets.models.files.checkpoints import read_json

FORMAT = 1
MANIFEST = "manifest.json"
PARTIAL = "partial"
ORIENTATION = "row = query = regulator, column = key = target"
BOTH_ORDERS = "a pair has one score: the model looks back, and its attention in either order is pooled over cells"


class AttentionStoreError(ValueError):
    """A folder of extracted attention that is absent, unfinished or damaged."""


def canonical_json(content: Any) -> str:
    """JSON text of ``content`` with sorted keys and no spare spaces, so that equal content has equal bytes."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def replace_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it is either the old one or the whole new one."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def replace_array(path: Path, array: NDArray[Any]) -> None:
    """Write an uncompressed ``.npy`` file so that it is either the old one or the whole new one."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as stream:
        np.lib.format.write_array(stream, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def stored_manifest(folder: Path) -> dict[str, Any] | None:
    """Manifest of a finished folder whose files are all there in full size, else None."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    manifest: dict[str, Any] = read_json(path)
    if manifest.get("format") != FORMAT:
        return None
    for entry in manifest["files"]:
        file = folder / entry["path"]
        if not file.is_file() or file.stat().st_size != entry["size"]:
            return None
    return manifest


def write_layer(folder: Path, layer: int, mean: NDArray[np.float32], heads: NDArray[np.float32] | None) -> None:
    """Write the finished sums of one layer: of the head mean (G x G), and of the kept heads (heads x G x G)."""
    replace_array(folder / f"layer-{layer}-mean.npy", mean)
    if heads is not None:
        replace_array(folder / f"layer-{layer}-heads.npy", heads)


def write_attention(
    folder: Path, *, arrays: Path, counts: NDArray[np.int32], genes: NDArray[np.str_], facts: Mapping[str, Any]
) -> None:
    """Finish an extraction whose layers were written to ``arrays``: files first, manifest last, working files removed.

    An earlier manifest is removed before its arrays change, so no crash leaves a manifest beside files it does not
    describe; layers are linked, so that a crash on the way leaves them where they can be finished again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    layers = sorted(arrays.glob("layer-*.npy"))
    for stale in folder.glob("layer-*.npy"):
        stale.unlink()
    for path in layers:
        _link(path, folder / path.name)
    replace_array(folder / "counts.npy", counts)
    replace_bytes(folder / "genes.json", json.dumps([str(gene) for gene in genes]).encode())
    files = [
        {"path": name, "size": (folder / name).stat().st_size, "sha256": _sha256(folder / name)}
        for name in sorted([*(path.name for path in layers), "counts.npy", "genes.json"])
    ]
    manifest = {"orientation": ORIENTATION, **facts, "format": FORMAT, "files": files}
    replace_bytes(folder / MANIFEST, (json.dumps(manifest, sort_keys=True, indent=1) + "\n").encode())
    shutil.rmtree(folder / PARTIAL, ignore_errors=True)


def take_over(folder: Path, neighbours: Iterable[Path], key: str, content: str, dataset: str) -> bool:
    """Fill ``folder`` from a finished neighbour with the same ``content``, if there is one; whether it was.

    Several screens may score the same genes over the same control cells. Arrays are linked where the file system can
    and copied where it cannot; finished arrays are only ever replaced as whole files, so a link is as good as a copy.
    """
    for neighbour in neighbours:
        manifest = None if neighbour == folder else stored_manifest(neighbour)
        if manifest is None or manifest.get("content") != content or _damaged(neighbour, manifest):
            continue
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        for stale in folder.glob("layer-*.npy"):
            stale.unlink()
        for entry in manifest["files"]:
            _link(neighbour / entry["path"], folder / entry["path"])
        told = json.dumps({**manifest, "key": key, "dataset": dataset}, sort_keys=True, indent=1) + "\n"
        replace_bytes(folder / MANIFEST, told.encode())
        shutil.rmtree(folder / PARTIAL, ignore_errors=True)
        return True
    return False


def _damaged(folder: Path, manifest: Mapping[str, Any]) -> bool:
    """Whether a file differs from the hash in the manifest; a fault must not travel to a neighbour."""
    return any(_sha256(folder / entry["path"]) != entry["sha256"] for entry in manifest["files"])


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def open_attention(folder: Path, *, verify: bool = False) -> AttentionEdges:
    """Attention edges of a finished folder; arrays stay on disk until a layer is asked for.

    ``layer_matrix(l)`` divides the sums of layer ``l`` by the number of cells in which both genes were in the
    sequence, NaN where there was none. With ``verify`` every file is hashed first, otherwise only sizes are
    compared.

    Raises
    ------
    AttentionStoreError
        If the folder is unfinished, a file has the wrong size, or (``verify``) the wrong hash.
    """
    manifest = stored_manifest(folder)
    if manifest is None:
        raise AttentionStoreError(
            f"{folder}: no finished attention here (manifest absent, or a file lacking or of another size); "
            "materialise attention for this release and dataset again"
        )
    if verify:
        for entry in manifest["files"]:
            if _sha256(folder / entry["path"]) != entry["sha256"]:
                raise AttentionStoreError(
                    f"{folder / entry['path']}: sha256 differs from the manifest; materialise attention again"
                )
    genes = np.array(read_json(folder / "genes.json"), dtype=np.str_)

    def layer_matrix(layer: int) -> EdgeMatrix:
        _require(layer, manifest["layers"], "layer", folder)
        return _matrix(folder, manifest, genes, f"layer-{layer}-mean.npy", layer, head=None)

    return AttentionEdges(
        release=manifest["release"],
        dataset=manifest["dataset"],
        genes=genes,
        layers=manifest["layers"],
        heads=manifest["heads"],
        cells_hash=manifest["cells_hash"],
        layer_matrix=layer_matrix,
        facts={**{key: value for key, value in manifest.items() if key != "files"}, "folder": str(folder)},
    )


def head_matrix(folder: Path, layer: int, head: int) -> EdgeMatrix:
    """Edge scores of a single head, as `open_attention` gives them for the head mean.

    Raises
    ------
    AttentionStoreError
        If the folder is unfinished or did not keep the head.
    ValueError
        If there is no such layer or head.
    """
    manifest = stored_manifest(folder)
    if manifest is None:
        raise AttentionStoreError(f"{folder}: no finished attention here; materialise attention again")
    _require(layer, manifest["layers"], "layer", folder)
    _require(head, manifest["heads"], "head", folder)
    listed = manifest.get("sums", {}).get("listed", {}).get(str(layer), [])
    kept: Sequence[int] = range(manifest["heads"]) if manifest["heads_kept"] == "all" else listed
    if head not in kept:
        raise AttentionStoreError(
            f"{folder}: single head {layer}.{head} was not kept ({manifest['heads_kept']}); raise the memory budget of "
            "the extraction or list the head in `heads`, and materialise attention again"
        )
    genes = np.array(read_json(folder / "genes.json"), dtype=np.str_)
    return _matrix(folder, manifest, genes, f"layer-{layer}-heads.npy", layer, head, kept.index(head))


def _matrix(
    folder: Path,
    manifest: Mapping[str, Any],
    genes: NDArray[np.str_],
    file: str,
    layer: int,
    head: int | None,
    slab: int = 0,
) -> EdgeMatrix:
    sums = np.load(folder / file, mmap_mode="r", allow_pickle=False)
    counts = np.load(folder / "counts.npy", allow_pickle=False)
    own = sums if head is None else sums[slab]
    symmetric = manifest.get("direction") == "causal"
    if symmetric:
        own, counts = both_orders(own), both_orders(counts)
    score = np.full(own.shape, np.nan, dtype=np.float32)
    np.divide(own, counts, out=score, where=counts > 0, casting="same_kind")
    label = "attention" if head is None else f"attention head {head}"
    facts = {
        "orientation": BOTH_ORDERS if symmetric else ORIENTATION,
        "depth": layer / max(1, manifest["layers"] - 1),
        "release": manifest["release"],
        "dataset": manifest["dataset"],
        "device": manifest["device"],
        "dtype": manifest["dtype"],
    }
    return EdgeMatrix(
        name=label,
        genes=genes,
        score=score,
        cells_behind=counts,
        cells_hash=manifest["cells_hash"],
        layer=layer,
        facts=facts if head is None else {**facts, "head": head},
    )


def _require(number: int, limit: int, what: str, folder: Path) -> None:
    if not 0 <= number < limit:
        raise ValueError(f"{folder}: {what} {number} does not exist; there are {limit}, counted from 0")


def _sha256(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as stream:
        while block := stream.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def clear_partial(partial: Path) -> None:
    """Empty the folder of an unfinished extraction."""
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)


def write_checkpoint(folder: Path, shards: int, total: NDArray[np.float32]) -> Path:
    """File with the sum of the first ``shards`` shards, now the only one in the folder."""
    path = folder / f"sums-{shards:05d}.npy"
    replace_array(path, total)
    for older in folder.glob("sums-*.npy"):
        if older.name != path.name:
            older.unlink()
    return path


def last_checkpoint(folder: Path, shards: int, shape: tuple[int, ...]) -> tuple[int, Path | None]:
    """Number of finished shards and the file with their sum, (0, None) without a usable checkpoint."""
    for path in sorted(folder.glob("sums-*.npy"), reverse=True):
        total = np.load(path, mmap_mode="r", allow_pickle=False)
        number = int(path.stem.removeprefix("sums-"))
        if total.shape == shape and total.dtype == np.float32 and 0 < number < shards:
            return number, path
    return 0, None


def read_slabs(path: Path) -> Iterator[NDArray[np.float32]]:
    """Slabs (G x G) of a checkpoint one after the other, so that no second copy of the sums is held."""
    with path.open("rb") as stream:
        np.lib.format.read_magic(stream)
        shape, _, kind = np.lib.format.read_array_header_1_0(stream)
        for _ in range(shape[0]):
            yield np.fromfile(stream, dtype=kind, count=shape[1] * shape[2]).reshape(shape[1:])
