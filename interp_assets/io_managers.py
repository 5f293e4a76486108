"""Typed, atomic IO managers: where each asset's files lie is part of its definition, not of its code.

Every asset names its folder by a template in its metadata (`PATH`), filled with the partition's dimensions. An
`Unavailable` is stored like any other record, so an absent dataset travels downstream with its reason.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from interp_assets.cells.records import PreparedCells, ScreenLabels, Unavailable
from interp_assets.edges.records import EdgeMatrix, Reference
from interp_assets.storage import (
    StorageError,
    canonical_json,
    content_hash,
    load_record,
    save_records,
    stored_kind,
    write_bytes,
    write_text,
)

PATH = "interp/path"
MANY = "interp/many"
RECORDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (Unavailable, PreparedCells, ScreenLabels, EdgeMatrix, Reference)
}


def register_record(kind: type[Any]) -> type[Any]:
    """Class decorator: let the records IO manager read ``kind`` back."""
    RECORDS[kind.__name__] = kind
    return kind


def partition_fields(key: str | None, names: tuple[str, ...] | None) -> dict[str, str]:
    """Dimension name to value of one partition key; a one-dimensional key answers to every name."""
    if key is None:
        return {}
    if isinstance(key, dg.MultiPartitionKey):
        return dict(key.keys_by_dimension)
    if names and len(names) > 1:
        return dict(zip(sorted(names), key.split("|"), strict=True))
    return dict.fromkeys(names or ("dataset", "release", "study"), key)


class _Placed(dg.ConfigurableIOManager):
    """Shared part: from an asset's template and a partition to a folder."""

    store: str

    def _folder(self, metadata: Mapping[str, Any], key: str | None) -> Path:
        template = metadata.get(PATH)
        if not template:
            raise StorageError(f"asset without metadata `{PATH}`: nothing says where its files lie")
        value = getattr(template, "value", template)
        names = tuple(part.split("}")[0] for part in str(value).split("{")[1:])
        return Path(self.store) / str(value).format(**partition_fields(key, names))

    def _output_folder(self, context: dg.OutputContext) -> Path:
        return self._folder(context.definition_metadata, context.partition_key if context.has_partition_key else None)

    def _inputs(self, context: dg.InputContext) -> Iterator[tuple[str | None, Path]]:
        upstream = context.upstream_output
        metadata = upstream.definition_metadata if upstream is not None else {}
        keys = context.asset_partition_keys if context.has_asset_partitions else [None]
        for key in keys:
            yield key, self._folder(metadata, key)

    def _load(self, context: dg.InputContext, read: Callable[[Path], Any]) -> Any:
        loaded = {key: read(folder) for key, folder in self._inputs(context)}
        if (context.definition_metadata or {}).get(MANY):
            return loaded
        if len(loaded) != 1:
            raise StorageError(f"{context.asset_key.to_user_string()}: expected one partition, found {len(loaded)}")
        return next(iter(loaded.values()))


class RecordsIOManager(_Placed):
    """Stores a mapping of frozen records, or one `Unavailable`, as a folder of arrays and tables."""

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Write the records; the folder is replaced in one rename."""
        records = {"unavailable": obj} if isinstance(obj, Unavailable) else obj
        save_records(self._output_folder(context), records)

    def load_input(self, context: dg.InputContext) -> Any:
        """Mapping of records by name, or the `Unavailable` that was stored instead."""
        return self._load(context, read_records)


def read_records(folder: Path) -> dict[str, Any] | Unavailable:
    """Records stored in ``folder`` by name, or the `Unavailable` that stands for them.

    Raises
    ------
    StorageError
        When nothing complete is stored there.
    """
    parts = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not parts:
        raise StorageError(f"{folder}: nothing stored; materialise the asset that writes it")
    records = {part.name: load_record(part, RECORDS[stored_kind(part) or ""]) for part in parts}
    unavailable = records.get("unavailable")
    return unavailable if isinstance(unavailable, Unavailable) else records


@dataclass(frozen=True, slots=True)
class StoredFiles:
    """Files that one asset wrote for one partition, by name relative to ``folder``."""

    folder: Path
    names: tuple[str, ...]

    def path(self, name: str) -> Path:
        """Path of a file of this asset.

        Raises
        ------
        StorageError
            When the asset wrote no such file.
        """
        if name not in self.names:
            raise StorageError(f"{self.folder}: the asset wrote no {name}; it wrote {', '.join(self.names)}")
        return self.folder / name

    def json(self, name: str) -> Any:
        """Parsed JSON file of this asset."""
        return json.loads(self.path(name).read_text(encoding="utf-8"))

    def tables(self) -> dict[str, pd.DataFrame]:
        """Frames of all files below ``tables/`` by table name."""
        return {Path(name).stem: pd.read_parquet(self.folder / name) for name in self.names if _is_table(name)}


def _is_table(name: str) -> bool:
    return name.startswith("tables/") and name.endswith(".parquet")


class FilesIOManager(_Placed):
    """Stores a mapping of relative file name to bytes in a folder that several assets share.

    Each asset keeps a list of its own files, so files of an earlier run that are no longer written are removed
    and every file belongs to one asset.
    """

    def handle_output(self, context: dg.OutputContext, obj: Mapping[str, bytes]) -> None:
        """Write changed files one by one, each atomically, and the list of them last."""
        folder = self._output_folder(context)
        listing = self._listing(folder, context.asset_key)
        before = json.loads(listing.read_text(encoding="utf-8")) if listing.is_file() else {}
        for name in set(before) - set(obj):
            (folder / name).unlink(missing_ok=True)
        for name, content in obj.items():
            write_bytes(folder / name, content)
        write_text(listing, canonical_json({name: hashlib.sha256(obj[name]).hexdigest() for name in obj}))
        context.add_output_metadata({"folder": dg.MetadataValue.path(str(folder))})

    def load_input(self, context: dg.InputContext) -> Any:
        """`StoredFiles` of the upstream asset, or a mapping of them by partition."""
        upstream = context.asset_key
        loaded = {key: self._stored(folder, upstream) for key, folder in self._inputs(context)}
        if (context.definition_metadata or {}).get(MANY):
            return loaded
        return next(iter(loaded.values()))

    def _listing(self, folder: Path, key: dg.AssetKey) -> Path:
        """List of the files an asset wrote into ``folder``; kept apart, so that result folders hold results only."""
        return Path(self.store) / ".files" / folder.relative_to(self.store) / f"{'.'.join(key.path)}.json"

    def _stored(self, folder: Path, key: dg.AssetKey) -> StoredFiles:
        listing = self._listing(folder, key)
        if not listing.is_file():
            raise StorageError(f"{folder}: {key.to_user_string()} has stored nothing here; materialise it first")
        return StoredFiles(folder, tuple(sorted(json.loads(listing.read_text(encoding="utf-8")))))


def files_version(files: Mapping[str, bytes]) -> dg.DataVersion:
    """Data version of a mapping of files: equal content, equal version."""
    lines = [f"{name} {hashlib.sha256(files[name]).hexdigest()}" for name in sorted(files)]
    return dg.DataVersion(hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16])


def records_version(records: Mapping[str, Any] | Unavailable) -> dg.DataVersion:
    """Data version of a mapping of records: equal content, equal version."""
    shown = {"unavailable": records} if isinstance(records, Unavailable) else records
    lines = [f"{name} {content_hash(shown[name])}" for name in sorted(shown)]
    return dg.DataVersion(hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16])


def parquet_bytes(frame: pd.DataFrame) -> bytes:
    """Frame as zstd parquet without an index; equal frames give equal bytes."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()


class AttentionIOManager(_Placed):
    """Opens extracted attention; the extraction itself has written the folder, so that a killed run resumes."""

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Check that the folder is complete, or store why there is no attention."""
        from interp_assets.models.sourcing import open_edges

        folder = self._output_folder(context)
        if isinstance(obj, Unavailable):
            save_records(folder, {"unavailable": obj})
        else:
            shutil.rmtree(folder / "unavailable", ignore_errors=True)  # of a time when there was no attention here
            open_edges(folder)

    def load_input(self, context: dg.InputContext) -> Any:
        """`AttentionEdges`, or the `Unavailable` stored instead."""
        from interp_assets.models.sourcing import open_edges

        return self._load(context, open_edges)
