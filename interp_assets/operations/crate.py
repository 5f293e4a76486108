"""One release as one file: its results in some studies as an RO-Crate zip that ``qc-gate check`` judges elsewhere.

What belongs here: what goes into the crate and how it is described. What does not: its layout and rules, and reading it
(`qc_standards.crate`), or judging.

Equal results give equal bytes: times in the zip are fixed, files are sorted, and the only dates are those that the
results' own ``provenance.json`` states. (Packed bytes also follow the zlib of the Python in use.)
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from interp_assets.models.files.releases import usable_name
from interp_assets.storage import canonical_json, write_atomically
from qc_standards.crate import METADATA, README, RESULTS, declared_files, unpacked
from qc_standards.gate import judge
from qc_standards.results import PROVENANCE_FILE, TESTS_FILE, check_stored, read_results
from qc_standards.verdicts import Judgement

PROFILE = "https://w3id.org/ro/crate/1.1"
LICENCE = "Apache-2.0"
_FIRST_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can state
_FILE_MODE = 0o100644 << 16
_TYPES = {".parquet": "application/vnd.apache.parquet", ".npy": "application/octet-stream", ".yaml": "application/yaml"}


class ExportError(ValueError):
    """Results that cannot be exported; the message says which and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource:
    """A dataset that results rest on, with the licence it is under."""

    name: str
    title: str
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Results of one study that go into a crate, after the gate has accepted them."""

    study: str
    folder: Path
    judgement: Judgement
    provenance: Mapping[str, Any]
    data: Sequence[DataSource] = field(default=())

    @property
    def made(self) -> str:
        """When the report was made, as its provenance states; empty where it states nothing."""
        root = next((entity for entity in self.provenance.get("@graph", ()) if entity.get("@id") == "./"), {})
        return str(root.get("dateCreated", ""))


def exportable(store: Path, release: str, studies: Sequence[str] = ()) -> list[Path]:
    """Result folders of a release in some studies, or in every study that has judged it.

    Raises
    ------
    ExportError
        When the name is no release's, or a study has no complete results of it.
    """
    if not usable_name(release):
        raise ExportError(f"{release!r} is no name of a release: use letters, digits, '-', '_' and '.'")
    found = {path.parent.parent.name: path.parent for path in sorted(store.glob(f"*/{release}/{PROVENANCE_FILE}"))}
    if lacking := [name for name in studies if name not in found]:
        way = f"run `interp evaluate --study {lacking[0]} --release {release}` first"
        raise ExportError(f"{store}: no finished results of {release} in {', '.join(lacking)}; {way}")
    if not found:
        raise ExportError(f"{store}: no finished results of {release}; run `interp evaluate --release {release}`")
    return [found[name] for name in dict.fromkeys(studies) or sorted(found)]


def accepted(folder: Path, data: Sequence[DataSource] = ()) -> Judged:
    """Results of one folder, after its verdict was recomputed and found to be the stored one.

    Raises
    ------
    ValueError
        When the gate does not accept the folder: damaged results are not handed on.
    """
    results = read_results(folder)
    judgement = judge(results)
    check_stored(results, judgement)
    provenance = json.loads((folder / PROVENANCE_FILE).read_text(encoding="utf-8"))
    return Judged(study=folder.parent.name, folder=folder, judgement=judgement, provenance=provenance, data=data)


def write_crate(path: Path, release: str, judged: Sequence[Judged]) -> Path:
    """Path of the zip, written in one rename after it was read back by the rules of the gate.

    Raises
    ------
    ValueError
        When a result folder holds a link, or what was written breaks a rule of `qc_standards.crate`.
    """

    def write(temporary: Path) -> None:
        _write_zip(temporary, release, judged)
        with unpacked(temporary):
            pass

    write_atomically(path, write)
    return path


def _write_zip(path: Path, release: str, judged: Sequence[Judged]) -> None:
    described: list[dict[str, Any]] = []
    contents = {README: partial(str.encode, readme(release, judged))}
    contents |= {name: source.read_bytes for name, source in declared_files().items()}
    for each in judged:
        contents |= {name: source.read_bytes for name, source in _result_files(each)}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name in sorted(contents):
            content = contents[name]()  # read once: what is hashed is what is written, also beside a running evaluation
            _add(archive, name, content)
            described.append(_entity(name, content))
        document = metadata(release, judged, described)
        _add(archive, METADATA, canonical_json(document).encode("utf-8"))


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _FIRST_TIME)
    entry.create_system, entry.external_attr, entry.compress_type = 3, _FILE_MODE, zipfile.ZIP_DEFLATED
    archive.writestr(entry, content)


def _result_files(judged: Judged) -> Iterator[tuple[str, Path]]:
    """Files of a result folder with their names in the crate; hidden ones are being written and no results."""
    for source in sorted(judged.folder.rglob("*")):
        inside = source.relative_to(judged.folder)
        if any(part.startswith(".") for part in inside.parts):
            continue
        if source.is_symlink():
            raise ExportError(f"{source}: a link in a result folder; evaluate the release again")
        if source.is_file():
            yield f"{_place(judged)}{inside.as_posix()}", source


def _entity(name: str, content: bytes) -> dict[str, Any]:
    suffix = os.path.splitext(name)[1]  # noqa: PTH122 (a name in a zip, no path here)
    form = _TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")
    return {
        "@id": quote(name),
        "@type": "File",
        "name": name,
        "contentSize": str(len(content)),
        "encodingFormat": form,
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def metadata(release: str, judged: Sequence[Judged], files: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """RO-Crate 1.1 document: the crate, a data set for each study with its files, the run that made it, licences."""
    licence = {"@id": f"https://spdx.org/licenses/{LICENCE}", "@type": "CreativeWork", "name": LICENCE}
    software = {
        "@id": "#interp-assets",
        "@type": "SoftwareApplication",
        "name": "interp-assets",
        "softwareVersion": version("interp-assets"),
    }
    model = {"@id": f"#release-{release}", "@type": "SoftwareSourceCode", "name": release}
    folders = [_study(each, files) for each in judged]
    beside = [{"@id": entry["@id"]} for entry in files if not entry["@id"].startswith(f"{RESULTS}/")]
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Evaluation of {release}",
        "description": " ".join(_sentence(each) for each in judged),
        "datePublished": max((each.made for each in judged), default=""),
        "license": {"@id": licence["@id"]},
        "about": {"@id": model["@id"]},
        "hasPart": [*({"@id": folder["@id"]} for folder in folders), *beside],
    }
    descriptor = {
        "@id": METADATA,
        "@type": "CreativeWork",
        "conformsTo": {"@id": PROFILE},
        "about": {"@id": "./"},
    }
    data = {source.name: _data_entity(source) for each in judged for source in each.data}
    runs = [_run(each, model["@id"], software["@id"]) for each in judged]
    others = [licence, software, model, *data.values(), *runs]
    context = [f"{PROFILE}/context", {"sha256": "https://schema.org/sha256"}]
    return {"@context": context, "@graph": [descriptor, root, *folders, *others, *files]}


def _place(judged: Judged) -> str:
    return f"{RESULTS}/{judged.study}/{judged.folder.name}/"


def _study(judged: Judged, files: Sequence[dict[str, Any]]) -> dict[str, Any]:
    place = _place(judged)
    parts = [{"@id": entry["@id"]} for entry in files if entry["name"].startswith(place)]
    return {
        "@id": quote(place),
        "@type": "Dataset",
        "name": f"Results of {judged.folder.name} in study {judged.study}",
        "description": _sentence(judged),
        "dateCreated": judged.made,
        "hasPart": parts,
    }


def _data_entity(source: DataSource) -> dict[str, Any]:
    return {
        "@id": f"#dataset-{source.name}",
        "@type": "Dataset",
        "name": source.title or source.name,
        "identifier": source.name,
        "usageInfo": source.licence,
    }


def _run(judged: Judged, model: str, software: str) -> dict[str, Any]:
    return {
        "@id": f"#evaluation-{judged.study}",
        "@type": "CreateAction",
        "name": f"Evaluation in study {judged.study}",
        "instrument": {"@id": software},
        "object": [{"@id": model}, *({"@id": f"#dataset-{source.name}"} for source in judged.data)],
        "result": {"@id": quote(_place(judged))},
        "endTime": judged.made,
    }


def _sentence(judged: Judged) -> str:
    headline = judged.judgement.headline
    state = judged.judgement.verdicts[headline].state
    return f"Study {judged.study}: {headline} is {str(state).replace('_', ' ')}."


def readme(release: str, judged: Sequence[Judged]) -> str:
    """Plain text for whoever opens the zip: what it is, what was found, how to check it."""
    lines = [
        f"Evaluation of {release}",
        "",
        "May the attention of this model be read as a gene regulatory network? The answer for each study, with the",
        "tables it rests on:",
        "",
        *(f"  {_sentence(each)}" for each in judged),
        "",
        "Recompute the verdict from the tables, without the platform that made them:",
        "",
        f"  pip install interp-assets=={version('interp-assets')}",
        "  qc-gate check THIS.zip",
        "",
        "Exit code 0: supported; 1: refuted or inconclusive; 2: not evaluable, or a damaged file.",
        "",
        "What is in it:",
        "",
        *(f"  {_place(each)}report.html   the page to read; {TESTS_FILE}, tables/: the numbers" for each in judged),
        "  declared/   tests, claims and standards that were in force",
        f"  {METADATA}   every file with its size and sha256 (RO-Crate 1.1)",
        "",
        f"Licence of tables, figures and text: {LICENCE}. The data they were computed from keep their own:",
        "",
        *_licences(judged),
        "",
        "The hashes detect damage, not forgery: whoever can write this file can also write its hashes.",
    ]
    return "\n".join(lines) + "\n"


def _licences(judged: Sequence[Judged]) -> list[str]:
    known = {source.name: source.licence for each in judged for source in each.data}
    return [f"  {name}: {licence}" for name, licence in sorted(known.items())] or ["  (not stated by this deployment)"]
