"""Classes of regulators, read from the panel ``regulator_classes.yaml``: master, signal dependent, and so on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from qc_standards.yaml_text import plain_yaml

FILE: Final = Path(__file__).parents[1] / "panels" / "regulator_classes.yaml"
MASTER: Final = "master_regulator"
SIGNAL: Final = "signal_dependent"
LINEAGE: Final = "lineage_specific"
HOUSEKEEPING: Final = "housekeeping"
UNCLASSIFIED: Final = "unclassified"
CLASSES: Final = (MASTER, SIGNAL, LINEAGE, HOUSEKEEPING)


class ClassesError(ValueError):
    """A list of classes that cannot be used; the message names the file, the entry and the rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegulatorClasses:
    """Class and source of every listed gene; ``sha256`` is that of the file."""

    of_gene: dict[str, str]
    source: dict[str, str]
    sha256: str


@cache
def regulator_classes(path: Path = FILE) -> RegulatorClasses:
    """Classes of a file: a list of entries with ``class``, ``source`` and ``genes``.

    Raises
    ------
    ClassesError
        If the file is unreadable, an entry lacks a key, names an unknown class, or a gene is listed twice.
    """
    try:
        content = path.read_bytes()
        entries = plain_yaml(content)
    except (OSError, yaml.YAMLError) as error:
        raise ClassesError(f"{path}: cannot be read ({error}); restore it") from error
    if not isinstance(entries, list) or not entries:
        raise ClassesError(f"{path}: must be a list of entries with class, source and genes")
    of_gene: dict[str, str] = {}
    source: dict[str, str] = {}
    for place, entry in enumerate(entries, 1):
        for gene in _genes(path, place, entry):
            if gene in of_gene:
                raise ClassesError(f"{path}, entry {place}: {gene} is {of_gene[gene]} already; a gene has one class")
            of_gene[gene], source[gene] = entry["class"], entry["source"]
    return RegulatorClasses(of_gene=of_gene, source=source, sha256=hashlib.sha256(content).hexdigest())


def _genes(path: Path, place: int, entry: Any) -> list[str]:
    if not isinstance(entry, dict) or set(entry) != {"class", "source", "genes"}:
        raise ClassesError(f"{path}, entry {place}: needs the keys class, source and genes, and no other")
    if entry["class"] not in CLASSES:
        raise ClassesError(f"{path}, entry {place}: class {entry['class']!r}; known are {', '.join(CLASSES)}")
    genes = entry["genes"]
    if not isinstance(genes, list) or not all(isinstance(gene, str) and gene for gene in genes):
        raise ClassesError(f"{path}, entry {place}: genes must be a list of symbols, found {genes!r}")
    return genes
