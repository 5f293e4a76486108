"""Publish standards: ``python -m qc_standards.publish`` adds raised and new versions to the record beside them.

What belongs here: what has to hold before a version is published, and writing the record. What does not: what the
record means (`qc_standards.version_lock`). Nothing published is ever altered or taken out by it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from qc_standards.standards import STANDARDS_FOLDER, Standard, StandardError, read_standards
from qc_standards.version_lock import LOCK_FILE, PublishedVersion, lock_text, new_entries, read_lock


def example_faults(standards: Iterable[Standard]) -> list[str]:
    """Examples that do not behave, one line each: the passing one must pass, the failing one fail what it names."""
    import pandas as pd

    from qc_standards.suites import evaluate_frame

    told = []
    for standard in standards:
        for kind, example in standard.examples.items():
            checks = evaluate_frame(standard, pd.DataFrame([dict(row) for row in example.rows]))
            failed = sorted(check.id for check in checks if not check.success)
            if failed != sorted(example.fails):
                told.append(f"{standard.id} {kind} example fails {failed}, expected {sorted(example.fails)}")
    return told


def publish(folder: Path = STANDARDS_FOLDER, *, start: bool = False) -> tuple[PublishedVersion, ...]:
    """Add the new versions of a folder of standards to its record; returns what was added.

    Parameters
    ----------
    folder
        Folder of ``QCS-NN_*.yaml`` files.
    start
        Whether to start a record where there is none. A record that was lost is restored from the history instead.

    Raises
    ------
    StandardError
        Where a published version would change, its file is gone, a patch version changes more than words, or an
        example does not behave; nothing is written then.
    """
    entries = read_lock(folder)
    if entries is None and not start:
        raise StandardError(f"{folder / LOCK_FILE}: no such record; restore it from the history, or begin with --start")
    known = entries or ()
    standards = read_standards(folder, published=False)
    added = new_entries(tuple(standards.values()), known)
    told = example_faults(standards[entry.id] for entry in added)
    if told:
        raise StandardError("; ".join(told))
    if added:
        _write(folder / LOCK_FILE, lock_text((*known, *added)))
    return added


def _write(path: Path, text: str) -> None:
    """Replace a file as a whole, or leave it as it was."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8", newline="\n")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Publish a folder of standards; exit code 0, or 2 with the reason where nothing may be published."""
    parser = argparse.ArgumentParser(prog="python -m qc_standards.publish", description=__doc__)
    parser.add_argument("--standards", type=Path, default=STANDARDS_FOLDER, help="folder (default: the shipped one)")
    parser.add_argument("--start", action="store_true", help="start a record where the folder has none")
    options = parser.parse_args(arguments)
    try:
        added = publish(options.standards, start=options.start)
    except ValueError as error:
        sys.stderr.write(f"nothing published: {error}\n")
        return 2
    lines = [f"published {entry.id} {entry.version}" for entry in added]
    sys.stdout.write("\n".join(lines or ["every standard is its published version; nothing to publish"]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
