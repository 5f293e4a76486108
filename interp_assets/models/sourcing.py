"""Attention of any name on the release axis: a release on disk, a control built here, or a negative twin.

What belongs here: which edges stand behind which name. What does not: how a transformer is built
(``planted_transformer``), read (``geneformer``) or extracted (``attention``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interp_assets.cells.records import PreparedCells, ScreenLabels, Unavailable
from interp_assets.edges.records import AttentionEdges, EdgeMatrix, Reference
from interp_assets.models.adapter import no_attention
from interp_assets.models.files.releases import Release, find_releases, read_release
from interp_assets.models.records import NothingToReadError, ReleaseCard
from interp_assets.settings import AttentionSettings, Folders
from interp_assets.storage import canonical_json, content_hash, load_record, save_records, stored_kind

PLANTED = "control-planted"
COEXPRESSION = "control-coexpression"
CONTROL_KINDS = {PLANTED: "positive_control", COEXPRESSION: "negative_control"}
TABLE = "edge_table"
CONTROL_REGULATORS = 128


class UnknownReleaseError(ValueError):
    """A name on the release axis that no folder and no control answers to."""


def release_card(name: str, folders: Folders) -> ReleaseCard:
    """What is known of ``name``; a release folder is verified file by file first.

    Raises
    ------
    UnknownReleaseError
        When no complete release folder carries the name; the message lists those that do.
    """
    if name in CONTROL_KINDS:
        family = "geneformer" if name == PLANTED else "edge_table"
        return ReleaseCard(name=name, kind=CONTROL_KINDS[name], family=family, release_id=name)
    release = named_release(name, folders)
    return ReleaseCard(
        name=name,
        kind="release",
        family=release.family,
        release_id=release.release_id,
        folder=str(release.folder),
        gap=release.gap,
        trained_on=release.trained_on,
        facts={key: release.facts[key] for key in sorted(release.facts) if key not in ("files", "loss_curve")}
        | {"files": [{"path": file.path, "size": file.size, "sha256": file.sha256} for file in release.files]},
    )


def named_release(name: str, folders: Folders) -> Release:
    """Verified release called ``name`` in the releases folder."""
    scan = find_releases(folders.releases)
    for release in scan.complete:
        if release.name == name:
            return release
    for folder, reason in {**scan.refused, **scan.incoming}.items():
        if folder.name == name:
            raise UnknownReleaseError(f"release {name} cannot be used: {reason}")
    known = ", ".join(sorted(release.name for release in scan.complete)) or "none"
    raise UnknownReleaseError(f"no release {name} in {folders.releases}; complete releases: {known}")


def release_attention(
    card: ReleaseCard, cells: PreparedCells, folder: Path, settings: AttentionSettings
) -> AttentionEdges | Unavailable:
    """Attention of a release on disk over the control cells, extracted into ``folder`` unless it is there.

    A release that knows too few genes of the dataset has no attention there; that is a fact of the pair and no fault.
    """
    from interp_assets.models.edge_tables.reading import ForeignGenesError, read_edge_table

    release = read_release(Path(card.folder))
    if lacking := no_attention(release.family):
        return Unavailable(cells.dataset, lacking)
    if release.family == "edge_table":
        try:
            table = read_edge_table(release, cells)
        except ForeignGenesError as error:
            return Unavailable(cells.dataset, str(error))
        return keep_table(table, cells, folder)
    return _extracted(release, cells, folder, settings)


def random_twin_attention(
    card: ReleaseCard, cells: PreparedCells, folder: Path, settings: AttentionSettings, seed: int
) -> AttentionEdges | Unavailable:
    """Attention of the same architecture and tokeniser with weights drawn at random."""
    from interp_assets.models.controls.catalogue import random_weights_release

    if card.family == "edge_table":
        return Unavailable(cells.dataset, "an edge table has no weights to draw at random")
    if lacking := no_attention(card.family):
        return Unavailable(cells.dataset, lacking)
    twin = random_weights_release(read_release(Path(card.folder)), folder / "release", seed=seed)
    return _extracted(twin, cells, folder, settings, heads="mean")


def control_regulators(labels: ScreenLabels) -> NDArray[np.str_]:
    """Perturbed genes the positive control speaks for: the scored ones with most listed pairs, whatever their outcome.

    A transformer that carries one code a regulator grows with their number, so there are at most
    `CONTROL_REGULATORS`; the control is judged on these perturbations only.
    """
    scored = labels.with_scored_source
    names, pairs = labels.perturbations[scored], (np.asarray(labels.label)[scored] >= 0).sum(axis=1)
    order = np.lexsort((names, -pairs))[:CONTROL_REGULATORS]
    return np.sort(names[order])


def planted_control_attention(
    cells: PreparedCells,
    labels: ScreenLabels,
    references: Mapping[str, Reference],
    folder: Path,
    settings: AttentionSettings,
    seed: int,
) -> AttentionEdges | Unavailable:
    """Attention of the positive control, a transformer built for this screen and read like any release.

    Where no perturbed gene is scored there is no outcome that edges could carry, and so no positive control.
    """
    from interp_assets.models.controls.catalogue import planted_control_release

    kept = np.isin(labels.perturbations, control_regulators(labels))
    if not kept.any():
        return Unavailable(
            cells.dataset, "the positive control carries a screen's outcomes; no perturbed gene is scored"
        )
    weight = labels.planted_weight
    carried = replace(
        labels,
        perturbations=labels.perturbations[kept],
        label=np.asarray(labels.label)[kept],
        baseline_label=None,
        training=None,
        planted_weight=None if weight is None else np.asarray(weight)[kept],
    )
    release = planted_control_release(folder / "release", cells, carried, references, seed=seed)
    return _extracted(release, cells, folder, settings, heads="mean")


def coexpression_control_attention(
    cells: PreparedCells, correlation: EdgeMatrix, folder: Path
) -> AttentionEdges | Unavailable:
    """Edges of the negative control: same-cell correlation, written and read as a user's edge table."""
    from interp_assets.models.controls.catalogue import coexpression_release
    from interp_assets.models.edge_tables.reading import read_edge_table

    release = coexpression_release(folder / "release", correlation)
    return keep_table(read_edge_table(release, cells), cells, folder)


def _extracted(
    release: Release, cells: PreparedCells, folder: Path, settings: AttentionSettings, heads: str = ""
) -> AttentionEdges | Unavailable:
    from interp_assets.models.attention.extraction import ExtractionSettings, extract_attention

    how = ExtractionSettings(
        device=settings.device,
        dtype=settings.dtype,
        heads=heads or settings.heads,
        memory_budget_gib=settings.memory_gib,
        batch_tokens=settings.batch_tokens,
        edge_rule=settings.edge_rule,
        zeros=settings.zeros,
        bin_ties=settings.bin_ties,
        encoding_seed=settings.encoding_seed,
        scheduler=settings.scheduler or None,
    )
    try:
        beside = sorted(folder.parent.iterdir()) if folder.parent.is_dir() else []
        return extract_attention(release, cells, folder, how, neighbours=beside)
    except NothingToReadError as error:
        return Unavailable(error.dataset, error.reason)


def keep_table(edges: AttentionEdges, cells: PreparedCells, folder: Path) -> AttentionEdges | Unavailable:
    """Edges of a table, kept in ``folder`` as they are, if they come from the dataset's control cells.

    A table that states other cells, or none, cannot be compared with same-cell correlation; it becomes
    `Unavailable` with the hash its manifest has to state.
    """
    if edges.cells_hash != cells.cells_hash:
        stated = f"states cells {edges.cells_hash[:12]}" if edges.cells_hash else "states no cells_hash"
        return Unavailable(
            cells.dataset,
            f"edge table {edges.release} {stated}; the scores must come from the control cells of {cells.dataset}: "
            f"write cells_hash {cells.cells_hash} into release.json if they do",
        )
    facts = {**edges.facts, "release": edges.release, "dataset": edges.dataset}
    save_records(folder, {TABLE: replace(edges.layer_matrix(0), facts=facts)}, "/".join(folder.parts[-3:]))
    return open_edges(folder)


def open_edges(folder: Path) -> AttentionEdges | Unavailable:
    """Whatever stands for attention in ``folder``: extracted sums, a kept edge table, or why there is none.

    Raises
    ------
    AttentionStoreError, StorageError
        When the folder is unfinished, or a file in it is not what was written.
    """
    from interp_assets.models.attention.store import open_attention

    finished = (folder / "manifest.json").is_file()  # written after any reason that still lies beside it
    if not finished and stored_kind(folder / "unavailable"):
        return load_record(folder / "unavailable", Unavailable)
    if stored_kind(folder / TABLE) is None:
        return open_attention(folder, verify=True)
    matrix = load_record(folder / TABLE, EdgeMatrix)
    return AttentionEdges(
        release=str(matrix.facts["release"]),
        dataset=str(matrix.facts["dataset"]),
        genes=matrix.genes,
        layers=1,
        heads=1,
        cells_hash=matrix.cells_hash,
        layer_matrix=lambda layer: matrix,
        facts=dict(matrix.facts),
    )


def edges_version(folder: Path) -> str:
    """Content version of what `open_edges` reads: hashes of the arrays, not of how many threads made them."""
    manifest = folder / "manifest.json"
    if manifest.is_file():
        content = json.loads(manifest.read_text(encoding="utf-8"))
        return hashlib.sha256(canonical_json([content["key"], content["files"]]).encode()).hexdigest()[:16]
    return content_hash(load_record(folder / TABLE, EdgeMatrix))[:16]
