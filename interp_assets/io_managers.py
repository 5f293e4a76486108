"""Typed, atomic IO managers: where each asset's files lie is part of its definition, not of its code.

What was written is stored with hashes, and nothing that differs from them is handed to an asset. The run history holds
one hash over all of it (`STORED`), so that an evaluation can ask whether what lies there is what the last run left.

Every asset names its folder by a template in its metadata (`PATH`), filled with the partition's dimensions. An
`Unavailable` is stored like any other record, so an absent dataset travels downstream with its reason.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from interp_assets.cells.records import PreparedCells, ScreenLabels, Unavailable
from interp_assets.edges.records import EdgeMatrix, Reference
from interp_assets.exclusive import alone
from interp_assets.storage import (
    DamagedError,
    StorageError,
    canonical_json,
    content_hash,
    fault_in,
    fault_in_records,
    load_record,
    records_digest,
    save_records,
    sha256_of,
    stored_kind,
    write_bytes,
    write_text,
    writing,
)

PATH = "interp/path"
MANY = "interp/many"
STORED = "sha256 of what is stored"
BUILT = "release"  # folder of the model of a control or a twin, beside its attention
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

    def _place(self, folder: Path) -> str:
        return folder.relative_to(self.store).as_posix()

    def _output_folder(self, context: dg.OutputContext) -> Path:
        return self._folder(context.definition_metadata, context.partition_key if context.has_partition_key else None)

    def _inputs(self, context: dg.InputContext) -> Iterator[tuple[str | None, Path]]:
        upstream = context.upstream_output
        metadata = upstream.definition_metadata if upstream is not None else {}
        keys = context.asset_partition_keys if context.has_asset_partitions else [None]
        for key in keys:
            yield key, self._folder(metadata, key)

    def fault(self, key: dg.AssetKey, metadata: Mapping[str, Any], partition: str | None, told: str) -> str:
        """Why what is stored is not what the last run of an asset left there, in words; empty where it is.

        ``told`` is the hash that the run history keeps of it; empty where it keeps none.
        """
        folder = self._folder(metadata, partition)
        try:
            found = self._fault(folder, key)
            if not found and told and told != self._digest(folder, key):
                found = f"{folder}: holds something else than its last run left there"
        except (OSError, ValueError) as error:
            return f"{folder}: cannot be read ({error})"
        return found

    @abstractmethod
    def _fault(self, folder: Path, key: dg.AssetKey) -> str:
        """First file that is not what its stored hash says, in words; empty where all are."""

    @abstractmethod
    def _digest(self, folder: Path, key: dg.AssetKey) -> str:
        """One hash over all that is stored."""

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
        folder = self._output_folder(context)
        save_records(folder, records, self._place(folder))
        context.add_output_metadata({STORED: records_digest(folder)})

    def load_input(self, context: dg.InputContext) -> Any:
        """Mapping of records by name, or the `Unavailable` that was stored instead."""
        return self._load(context, read_records)

    def _fault(self, folder: Path, key: dg.AssetKey) -> str:
        return fault_in_records(folder)

    def _digest(self, folder: Path, key: dg.AssetKey) -> str:
        return records_digest(folder)


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
    records = {}
    for part in parts:
        kind = stored_kind(part) or "record"
        if kind not in RECORDS:
            raise StorageError(f"{part}: no {kind} that is known is stored; materialise the asset that writes it")
        records[part.name] = load_record(part, RECORDS[kind])
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
        """Write the files one by one, each atomically, and the list of them last."""
        folder = self._output_folder(context)
        listing = self._listing(folder, context.asset_key)
        with writing(listing), alone(listing):
            for name in set(_listed(listing) or {}) - set(obj):
                (folder / name).unlink(missing_ok=True)
            for name, content in obj.items():
                write_bytes(folder / name, content)
            write_text(listing, canonical_json({name: hashlib.sha256(obj[name]).hexdigest() for name in obj}))
        digest = self._digest(folder, context.asset_key)
        context.add_output_metadata({"folder": dg.MetadataValue.path(str(folder)), STORED: digest})

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
        """Files of an asset, each what its hash in the list says.

        Raises
        ------
        StorageError
            When the asset has stored nothing there, and `DamagedError` where a file or the list was changed since.
        """
        listing = self._listing(folder, key)
        if not listing.is_file():
            raise StorageError(f"{folder}: {key.to_user_string()} has stored nothing here; materialise it first")
        if fault := self._fault(folder, key):
            raise DamagedError(f"{fault}; materialise {key.to_user_string()} again")
        return StoredFiles(folder, tuple(sorted(_listed(listing) or {})))

    def _fault(self, folder: Path, key: dg.AssetKey) -> str:
        listing = self._listing(folder, key)
        listed = _listed(listing)
        return f"{listing}: is missing or damaged" if listed is None else fault_in(folder, listed)

    def _digest(self, folder: Path, key: dg.AssetKey) -> str:
        return sha256_of(self._listing(folder, key))


def _listed(listing: Path) -> dict[str, str] | None:
    """Files and hashes that a list names; None where it is not there or not as it was written."""
    try:
        text = listing.read_text(encoding="utf-8")
        listed: dict[str, str] = json.loads(text)
        whole = text == canonical_json(listed) and all(isinstance(value, str) for value in listed.values())
    except (OSError, ValueError, AttributeError):
        return None
    return listed if whole else None


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
            save_records(folder, {"unavailable": obj}, self._place(folder))
        else:
            shutil.rmtree(folder / "unavailable", ignore_errors=True)  # of a time when there was no attention here
            open_edges(folder)
        context.add_output_metadata({STORED: _attention_digest(folder)})

    def load_input(self, context: dg.InputContext) -> Any:
        """`AttentionEdges`, or the `Unavailable` stored instead."""
        from interp_assets.models.sourcing import open_edges

        return self._load(context, open_edges)

    def _fault(self, folder: Path, key: dg.AssetKey) -> str:
        from interp_assets.models.files.releases import read_release
        from interp_assets.models.sourcing import open_edges

        open_edges(folder)  # raises where a file is not what was written
        if (folder / BUILT).is_dir():
            read_release(folder / BUILT)  # raises likewise
        return ""

    def _digest(self, folder: Path, key: dg.AssetKey) -> str:
        return _attention_digest(folder)


def _attention_digest(folder: Path) -> str:
    """Hash over the attention and, for a control or a twin, over the manifest of the model that was built beside it."""
    manifest, model = folder / "manifest.json", folder / BUILT / "release.json"
    read = sha256_of(manifest) if manifest.is_file() else records_digest(folder)
    return hashlib.sha256(f"{read} {sha256_of(model)}".encode()).hexdigest() if model.is_file() else read


def io_managers(store: Path) -> dict[str, RecordsIOManager | FilesIOManager | AttentionIOManager]:
    """The managers of a store, by the names that assets know them under."""
    return {
        "records": RecordsIOManager(store=str(store)),
        "files": FilesIOManager(store=str(store)),
        "attention_store": AttentionIOManager(store=str(store)),
    }
