"""Release folders of controls that are written down rather than trained, whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from interp_assets.models.files.releases import MANIFEST

# Controls are made, not released: a clock would make two runs differ.
CREATED = "made by the evaluation itself"


def json_bytes(content: Mapping[str, Any]) -> bytes:
    """Readable JSON, the same bytes for the same content."""
    return (json.dumps(content, indent=1, ensure_ascii=True) + "\n").encode()


def write_control_release(
    folder: Path, contents: Mapping[str, bytes], facts: Mapping[str, Any], name: str = ""
) -> None:
    """Write a release folder: files first, ``release.json`` last, the folder moved into place by rename.

    Parameters
    ----------
    folder
        Destination; an existing folder is replaced.
    contents
        Bytes of every file by name.
    facts
        Manifest entries besides ``name``, ``created`` and ``files``.
    name
        Release name; the folder's own name if empty.
    """
    scratch = folder.with_name(f".incoming-{folder.name}")
    if scratch.exists():
        shutil.rmtree(scratch)
    scratch.mkdir(parents=True)
    for path, data in contents.items():
        (scratch / path).parent.mkdir(parents=True, exist_ok=True)
        (scratch / path).write_bytes(data)
    files = [
        {"path": name, "size": len(data), "sha256": sha256(data).hexdigest()} for name, data in sorted(contents.items())
    ]
    manifest = {"name": name or folder.name, "created": CREATED, **facts, "files": files}
    (scratch / MANIFEST).write_bytes(json_bytes(manifest))
    if folder.exists():
        shutil.rmtree(folder)
    scratch.rename(folder)
