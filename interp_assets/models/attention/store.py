"""Extracted attention on disk: one memory-mappable array a layer, and a manifest written last.

What belongs here: the folder layout, atomic writing, opening, and single heads for later analyses. What does
not: computing the sums (`attention`).

``<folder>/layer-<l>-mean.npy`` holds float32 G x G sums over cells of the head mean; with heads kept,
``layer-<l>-heads.npy`` holds sums of single heads (heads x G x G; the manifest says which); ``counts.npy`` (int32,
G x G) the cells in which both genes were in the sequence; ``genes.json`` the gene names. Row = query = regulator,
column = key = target. Of a model that looks back, sums and counts hold what was possible in one order
(`pooling`); opened scores pool both. A folder without ``manifest.json`` is unfinished and never opened. Manifest,
checkpoints and records of finished passes carry hashes of themselves: what was changed since is made again.
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
from interp_assets.models.files.file_rules import ReleaseFileError
from interp_assets.storage import StorageError, fault_in, known_sha256, writing

FORMAT = 1
MANIFEST = "manifest.json"
PARTIAL = "partial"
SEAL = "sha256"  # of all else in a document, under this key
SEAL_BYTES = 32  # of a checkpoint: sha256 of what it belongs to and of the array before it
ORIENTATION = "row = query = regulator, column = key = target"
BOTH_ORDERS = "a pair has one score: the model looks back, and its attention in either order is pooled over cells"


class AttentionStoreError(StorageError):
    """A folder of extracted attention that is absent, unfinished or damaged."""


def canonical_json(content: Any) -> str:
    """JSON text of ``content`` with sorted keys and no spare spaces, so that equal content has equal bytes."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def replace_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it is either the old one or the whole new one."""
    part = path.with_name(path.name + ".part")
    with writing(path):
        with part.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)


def replace_array(path: Path, array: NDArray[Any], owner: str | None = None) -> None:
    """Write an uncompressed ``.npy`` file so that it is either the old one or the whole new one.

    With an ``owner`` the array is followed by a hash over both, which readers of ``.npy`` files do not see.
    """
    part = path.with_name(path.name + ".part")
    with writing(path):
        with part.open("wb+") as stream:
            np.lib.format.write_array(stream, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            stream.flush()
            if owner is not None:
                stream.write(_seal(part, stream.tell(), owner))
                stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)


def _seal(path: Path, size: int, owner: str) -> bytes:
    """Hash over ``owner`` and the first ``size`` bytes of a file."""
    digest = sha256(owner.encode())
    with path.open("rb") as stream:
        while block := stream.read(min(2**20, size)):
            digest.update(block)
            size -= len(block)
    return digest.digest()


def _sealed(path: Path, owner: str) -> bool:
    """Whether a checkpoint is what was written for ``owner``."""
    size = path.stat().st_size - SEAL_BYTES
    if size <= 0:
        return False
    with path.open("rb") as stream:
        stream.seek(size)
        return stream.read() == _seal(path, size, owner)


def _document(content: Mapping[str, Any]) -> bytes:
    """Text of a document that carries the hash of all else in it."""
    sealed = {**content, SEAL: sha256(canonical_json(content).encode()).hexdigest()}
    return (json.dumps(sealed, sort_keys=True, indent=1) + "\n").encode()


def write_document(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON document that carries the hash of all else in it."""
    replace_bytes(path, _document(content))


def read_document(path: Path) -> dict[str, Any] | None:
    """Content of a document, None where there is none or it is not what was written."""
    try:
        sealed = read_json(path)
    except (ReleaseFileError, OSError):
        return None
    if not isinstance(sealed, dict):
        return None
    content = {key: value for key, value in sealed.items() if key != SEAL}
    return content if path.read_bytes() == _document(content) else None


def stored_manifest(folder: Path) -> dict[str, Any] | None:
    """Manifest of a finished folder whose files are all there in full size, else None."""
    manifest = read_document(folder / MANIFEST)
    if manifest is None or manifest.get("format") != FORMAT:
        return None
    for entry in manifest["files"]:
        file = folder / entry["path"]
        if not file.is_file() or file.stat().st_size != entry["size"]:
            return None
    return manifest


def finished_with(folder: Path, key: str) -> bool:
    """Whether a folder is finished, for a request with this key, and all its files are what their hashes say.

    Working files that a run left, because it was killed when it had just finished, are removed.
    """
    manifest = stored_manifest(folder)
    if manifest is None or manifest.get("key") != key or _fault(folder, manifest):
        return False
    shutil.rmtree(folder / PARTIAL, ignore_errors=True)
    return True


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
        {"path": name, "size": (folder / name).stat().st_size, "sha256": known_sha256(folder / name)}
        for name in sorted([*(path.name for path in layers), "counts.npy", "genes.json"])
    ]
    manifest = {"orientation": ORIENTATION, **facts, "format": FORMAT, "files": files}
    write_document(folder / MANIFEST, manifest)
    shutil.rmtree(folder / PARTIAL, ignore_errors=True)


def take_over(folder: Path, neighbours: Iterable[Path], key: str, content: str, dataset: str) -> bool:
    """Fill ``folder`` from a finished neighbour with the same ``content``, if there is one; whether it was.

    Several screens may score the same genes over the same control cells. Arrays are linked where the file system can
    and copied where it cannot; finished arrays are only ever replaced as whole files, so a link is as good as a copy.
    """
    for neighbour in neighbours:
        manifest = None if neighbour == folder else stored_manifest(neighbour)
        if manifest is None or manifest.get("content") != content or _fault(neighbour, manifest):
            continue  # a fault must not travel to a neighbour
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        for stale in folder.glob("layer-*.npy"):
            stale.unlink()
        for entry in manifest["files"]:
            _link(neighbour / entry["path"], folder / entry["path"])
        write_document(folder / MANIFEST, {**manifest, "key": key, "dataset": dataset})
        shutil.rmtree(folder / PARTIAL, ignore_errors=True)
        return True
    return False


def _fault(folder: Path, manifest: Mapping[str, Any]) -> str:
    """First file that differs from its hash in the manifest, in words; empty where none does."""
    return fault_in(folder, {entry["path"]: entry["sha256"] for entry in manifest["files"]})


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        with writing(target):
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
    if verify and (fault := _fault(folder, manifest)):
        raise AttentionStoreError(f"{fault}; materialise attention for this release and dataset again")
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


def clear_partial(partial: Path) -> None:
    """Empty the folder of an unfinished extraction."""
    shutil.rmtree(partial, ignore_errors=True)
    with writing(partial):
        partial.mkdir(parents=True)


def write_checkpoint(folder: Path, shards: int, total: NDArray[np.float32], owner: str) -> Path:
    """File with the sum of the first ``shards`` shards of a pass of ``owner``, now the only one in the folder."""
    path = folder / f"sums-{shards:05d}.npy"
    replace_array(path, total, _of_shards(owner, shards))
    for older in folder.glob("sums-*.npy"):
        if older.name != path.name:
            older.unlink()
    return path


def last_checkpoint(folder: Path, shards: int, shape: tuple[int, ...], owner: str) -> tuple[int, Path | None]:
    """Number of finished shards and the file with their sum, (0, None) without a usable checkpoint.

    A file that was cut short, changed, or written for another ``owner`` or number of shards is not used.
    """
    for number in sorted(range(1, shards), reverse=True):
        path = folder / f"sums-{number:05d}.npy"
        if not path.is_file() or not _sealed(path, _of_shards(owner, number)):
            continue
        total = np.load(path, mmap_mode="r", allow_pickle=False)
        if total.shape == shape and total.dtype == np.float32:
            return number, path
    return 0, None


def _of_shards(owner: str, shards: int) -> str:
    return f"{owner} {shards}"


def write_pass(path: Path, key: str, kept: Sequence[float | None], arrays: Path, layers: Iterable[int]) -> None:
    """Record of a finished pass: what was kept of each layer, and the hashes of its arrays."""
    names = [file.name for layer in layers for file in sorted(arrays.glob(f"layer-{layer}-*.npy"))]
    files = {name: known_sha256(arrays / name) for name in names}
    write_document(path, {"key": key, "kept": list(kept), "files": files})


def finished_pass(path: Path, key: str, arrays: Path) -> list[float | None] | None:
    """What was kept of each layer of a finished pass; None where it has to be run, or run again."""
    told = read_document(path)
    if told is None or told.get("key") != key or fault_in(arrays, told["files"]):
        return None
    kept: list[float | None] = told["kept"]
    return kept


def read_slabs(path: Path) -> Iterator[NDArray[np.float32]]:
    """Slabs (G x G) of a checkpoint one after the other, so that no second copy of the sums is held."""
    with path.open("rb") as stream:
        np.lib.format.read_magic(stream)
        shape, _, kind = np.lib.format.read_array_header_1_0(stream)
        for _ in range(shape[0]):
            yield np.fromfile(stream, dtype=kind, count=shape[1] * shape[2]).reshape(shape[1:])
