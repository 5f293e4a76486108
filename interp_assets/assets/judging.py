"""What is judged from stored results, and whether a stored verdict is still the one they give.

What belongs here: reading and judging a folder once, and refusing a verdict that no longer holds. What does not: any
asset.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

from interp_assets.io_managers import StoredFiles
from qc_standards.results import Results
from qc_standards.verdicts import Judgement

# All that one judgement rests on; what speaks of it as a whole is made only when each of these is up to date.
JUDGEMENT = ("test_results", "extended_results", "standards_results", "qc_verdict")


class StaleVerdictError(RuntimeError):
    """A stored verdict that the results beside it do not give; nothing may be said from it."""


def rules_version() -> str:
    """Part of a code version: the standards and claims that a judgement follows, which are data and no code."""
    from qc_standards.claims import claims_registry
    from qc_standards.standards import standards_hash

    return standards_hash()[:16] + claims_registry().content_hash[:16]


def documents_of(judgement: Any) -> dict[str, bytes]:
    """Stored documents of a judgement by file name: standards, claims, verdict."""
    from qc_standards.documents import canonical_json as document_text
    from qc_standards.documents import documents

    return {name: document_text(content).encode("utf-8") for name, content in documents(judgement).items()}


def judged(folder: Path) -> tuple[Results, Judgement]:
    """Results and tables in ``folder`` with their judgement.

    Verdict, figures and report of one evaluation read the same files one after the other; as long as none of the
    files is replaced they are read and judged once.
    """
    files = [*sorted(folder.glob("*.parquet")), *sorted((folder / "tables").glob("*.parquet"))]
    return _judged(folder, tuple((path.name, path.stat().st_mtime_ns, path.stat().st_ino) for path in files))


@lru_cache(maxsize=1)
def _judged(folder: Path, files: tuple[tuple[str, int, int], ...]) -> tuple[Results, Judgement]:
    from qc_standards.gate import judge
    from qc_standards.results import read_results

    del files
    results = read_results(folder, judged=False)
    return results, judge(results)


def verdict_in_force(stored: StoredFiles) -> tuple[Results, Judgement]:
    """Results and their judgement, if the stored verdict is exactly what they give today.

    A failed check stops downstream work inside its own run only. So whatever speaks from a verdict asks here first,
    also when it is materialised alone: a table that changed since, a standard that fails now, or a verdict edited by
    hand ends in an error and leaves what was said before as it is.

    Raises
    ------
    StaleVerdictError
        Naming the first document that differs and the way out.
    """
    results, judgement = judged(stored.folder)
    for name, content in documents_of(judgement).items():
        path = stored.folder / name
        if not path.is_file() or path.read_bytes() != content:
            raise StaleVerdictError(
                f"{path}: not what the results in this folder give today; materialise standards_results and "
                "qc_verdict of this release and study, then this asset"
            )
    return results, judgement
