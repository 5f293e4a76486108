"""Frozen records of what a dataset's YAML declares; how the YAML is read is in `datasets`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from interp_assets.cells.differential import LabelRule

LOCKED = "on-first-download"  # written in place of a sha256 that nobody could state beforehand


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorSource:
    """A file of the data mirror, its path relative to the mirror's root.

    ``sha256`` is `LOCKED` and ``size`` 0 where the file is first seen on the user's own machine.
    """

    path: str
    sha256: str
    size: int

    @property
    def key(self) -> str:
        """Name of the source in the file of locks."""
        return f"mirror:{self.path}"


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
    """A file behind an https address.

    ``sha256`` may be `LOCKED`: the first complete download is trusted and its hash kept (`source_locks`). ``size`` is
    the exact number of bytes, 0 where it is not known; ``about`` a rough one that only plans read. ``md5`` is the
    checksum that the repository publishes, checked beside the hash where it is given. ``name`` is what the file is
    called where the address does not end in it.
    """

    url: str
    sha256: str
    size: int
    about: int = 0
    md5: str = ""
    name: str = ""

    @property
    def key(self) -> str:
        """Name of the source in the file of locks."""
        return self.url

    @property
    def file_name(self) -> str:
        """What the file is called."""
        return self.name or Path(urlsplit(self.url).path).name


Source = MirrorSource | WheelSource | DownloadSource


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelsFormat:
    """How the words of a file become names of perturbed genes, where they are not those names already.

    ``columns`` are looked through in this order for every cell, the first that holds something names it. A cell with
    one of the words ``control`` in any of them is a control cell. ``pattern`` must match a whole label and has one
    group called ``gene``; labels that it does not match stay. Cells without a label and those labelled ``drop`` are
    left out and counted.
    """

    columns: tuple[str, ...]
    control: tuple[str, ...]
    pattern: str = ""
    drop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedContext:
    """What the published study says of its data; shown beside ours and read by no computation.

    ``modality`` is the published label; ``disputed`` says why it is not the one used here. ``cells`` and ``genes`` are
    the shape of the file as others report it and ``dense`` how it is stored, which only plans read.
    """

    modality: str = ""
    disputed: str = ""
    cells: int = 0
    genes: int = 0
    dense: bool = False
    perturbations: str = ""
    rule: str = ""


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

    ``counts`` is ``X``, ``raw`` (the matrix and genes under the file's ``raw``) or ``layers/<name>``. Genes are named
    by the file's index, or by its column ``gene_column``.

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
    gene_column: str = ""
    labels: LabelsFormat | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UniverseRule:
    """Which genes are scored: forced genes, then highly variable ones up to ``genes`` (0: none added).

    ``forced`` screen stands for the genes of a table of outcomes, perturbed for the perturbed genes of the cells.
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
    fewer distinct targets in the whole file; ``max_set_size`` drops larger gene sets before co-membership,
    ``set_prefix`` keeps the sets of one collection in a file of several.
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
    set_prefix: str = ""


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
    published: PublishedContext | None = None

    @property
    def modality_disputed(self) -> bool:
        """Whether the published label of the perturbation is not the one used here."""
        return self.published is not None and bool(self.published.disputed)

    def fingerprint(self) -> str:
        """Sha256 over everything that can change a result; titles, licences and remarks left out."""
        facts = asdict(self)
        for remark in ("title", "licence", "file", "provenance", "traps", "published"):
            facts.pop(remark)
        for later in ("gene_column", "labels"):  # what a declaration does not use leaves its fingerprint as it was
            if self.cells is not None and not getattr(self.cells, later):
                facts["cells"].pop(later)
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
