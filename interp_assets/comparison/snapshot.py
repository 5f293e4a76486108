"""Snapshot of one judgement: its states, deciding numbers, controls and lineage, as one small JSON document.

What belongs here: a pure function of a results folder, and what two snapshots have to share to be the same judgement.
What does not: where snapshots are kept (`history`) or what differs between two (`changes`).
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from interp_assets.comparison.references import reference_lines
from interp_assets.storage import canonical_json
from qc_standards.evidence import is_missing
from qc_standards.extended import EXTENDED_FILE
from qc_standards.results import TABLES_FOLDER, TESTS_FILE

FORMAT = 1
JUDGING = ("standards_results", "qc_verdict")  # steps that turn numbers into states
_FILE = re.compile(r"([\d,]+) bytes, sha256 ([0-9a-f]{64})")
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".npz", ".h5", ".h5ad", ".parquet", ".csv", ".tsv", ".gz")
DICTIONARY = re.compile(r"(^|/)[^/]*(dictionary|vocab|token|gene)[^/]*$", re.IGNORECASE)
STATED = ("follows", "base", "source", "name", "family")


@dataclass(frozen=True, slots=True)
class Made:
    """What an evaluation was made with, as its store recorded it.

    ``data`` maps datasets of the study to their content versions, ``settings`` is a hash of all that the study lets one
    set, ``code`` maps steps to code versions. Empty where nobody recorded them: two such judgements do not
    differ in it.
    """

    data: Mapping[str, str] = field(default_factory=dict)
    settings: str = ""
    code: Mapping[str, str] = field(default_factory=dict)


def made_with(inputs: Mapping[str, Any], code: Mapping[str, str]) -> Made:
    """What an evaluation was made with, from the versions that its study lists (``study_inputs.json``)."""
    settings = {key: value for key, value in inputs.items() if key != "datasets"}
    told = hashlib.sha256(canonical_json(settings).encode()).hexdigest()[:16] if settings else ""
    return Made(data=dict(inputs.get("datasets", {})), settings=told, code=dict(code))


def digest(content: bytes) -> str:
    """First 16 hex digits of the sha256: the name of a snapshot or of kept evidence."""
    return hashlib.sha256(content).hexdigest()[:16]


def evidence_archive(folder: Path) -> bytes:
    """Tests and tables of a results folder as one zip with fixed times: equal files give equal bytes.

    Kept so that these numbers can be judged again under rules that do not exist yet, after the folder has moved on.
    """
    files = [folder / TESTS_FILE, folder / EXTENDED_FILE, *sorted((folder / TABLES_FOLDER).glob("*.parquet"))]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path in files:
            if path.is_file():
                archive.writestr(zipfile.ZipInfo(path.relative_to(folder).as_posix()), path.read_bytes())
    return buffer.getvalue()


def read_evidence(content: bytes, only: Sequence[str] = ()) -> dict[str, pd.DataFrame]:
    """Frames of kept evidence by file name without suffix: ``tests``, ``extended``, every table; or ``only`` some."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [name for name in archive.namelist() if not only or Path(name).stem in only]
        return {Path(name).stem: pd.read_parquet(io.BytesIO(archive.read(name))) for name in names}


def snapshot(folder: Path, made: Made, evidence: str) -> dict[str, Any]:
    """Snapshot of the judgement stored in a results folder.

    Parameters
    ----------
    folder
        Results folder with ``verdict.json``, ``claims.json``, ``standards.json`` and its tables.
    made
        What it was made with; its code is no part of the snapshot (`history` keeps it beside).
    evidence
        Name of the kept evidence (`evidence_archive`).
    """
    verdict, claims, standards = (_read(folder / f"{name}.json") for name in ("verdict", "claims", "standards"))
    facts = _table(folder, "model_facts")
    evaluation = _table(folder, "evaluation")
    row = {} if evaluation is None else dict(evaluation.iloc[0].to_dict())
    headline = verdict["headline"]
    return {
        "format": FORMAT,
        "study": verdict["study"],
        "release": verdict["release"],
        "release_kind": verdict["release_kind"],
        "data_origin": headline["data_origin"],
        "headline": headline["id"],
        "claims": {entry["id"]: _claim(entry) for entry in claims["claims"]},
        "criteria": {name: _criterion(entry) for name, entry in sorted(claims["criteria"].items())},
        "standards": {entry["id"]: _standard(entry) for entry in standards["standards"]},
        "controls": _controls(_table(folder, "control_outcomes")),
        "references": reference_lines(_table(folder, "noise_ceiling"), _table(folder, "perturbation_auroc")),
        "lineage": {
            **_files(facts),
            "stated": _stated(facts, row),
            "release_id": _text(row.get("release_id")),
            "claims_hash": verdict["claims_hash"],
            "standards_hash": verdict["standards_hash"],
            "registry_hash": verdict["registry_hash"],
            "families": {name: entry["size"] for name, entry in verdict["families"].items()},
            "data": dict(made.data),
            "settings": made.settings,
        },
        "evidence": evidence,
    }


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _table(folder: Path, name: str) -> pd.DataFrame | None:
    path = folder / TABLES_FOLDER / f"{name}.parquet"
    frame = pd.read_parquet(path) if path.is_file() else None
    return None if frame is None or frame.empty else frame


def _text(value: Any) -> str:
    return "" if is_missing(value) else str(value)


def _claim(entry: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("sentence", "state", "label", "criteria", "standards", "provisional", "data_origin", "published_claim")
    return {name: entry[name] for name in kept}


def _criterion(entry: Mapping[str, Any]) -> dict[str, Any]:
    parts = [{key: part[key] for key in ("name", "outcome", "numbers")} for part in entry["parts"]]
    return {"title": entry["title"], "outcome": entry["outcome"], "reason": entry["reason"], "parts": parts}


def _standard(entry: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("version", "content_hash", "title", "kind", "severity", "applies", "outcome")
    return {name: entry[name] for name in kept}


def _controls(frame: pd.DataFrame | None) -> dict[str, dict[str, Any]]:
    if frame is None:
        return {}
    rows = frame.to_dict("records")
    return {
        str(row["control"]): {
            "expected": str(row["expected"]),
            "observed": str(row["observed"]),
            "behaves": bool(row["behaves"]) if not is_missing(row["behaves"]) else False,
        }
        for row in rows
    }


def file_part(path: str) -> str:
    """Which part of a release a file is: weights, dictionary, or settings of the model.

    Examples
    --------
    >>> [file_part(name) for name in ("model.safetensors", "token_dictionary.pkl", "vocab.json", "config.json")]
    ['weights', 'dictionary', 'dictionary', 'configuration']
    """
    if path.lower().endswith(WEIGHTS):
        return "weights"
    return "dictionary" if DICTIONARY.search(path) else "configuration"


def _files(facts: pd.DataFrame | None) -> dict[str, str]:
    """Hash of the files of every part of the release, as its evaluation lists them; empty where it lists none."""
    lines: dict[str, list[str]] = {"weights": [], "dictionary": [], "configuration": []}
    listed = [] if facts is None else facts[facts["section"] == "file"][["name", "value"]].itertuples(index=False)
    for name, value in listed:
        found = _FILE.search(str(value))
        if found:
            lines[file_part(str(name))].append(f"{name} {found.group(2)}")
    return {part: digest("\n".join(sorted(files)).encode()) if files else "" for part, files in lines.items()}


def _stated(facts: pd.DataFrame | None, row: Mapping[str, Any]) -> dict[str, str]:
    """What the manifest says of family and origin, as the evaluation lists it."""
    listed = [] if facts is None else facts[facts["section"] == "release"][["name", "value"]].itertuples(index=False)
    told = {str(name): str(value) for name, value in listed if name in STATED and value != "–"}
    return {"family": _text(row.get("family"))} | told
