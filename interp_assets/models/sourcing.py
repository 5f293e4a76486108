"""Attention of any name on the release axis: a release on disk, a control built here, or a negative twin.

What belongs here: which edges stand behind which name. What does not: how a transformer is built
(``planted_transformer``), read (``geneformer``) or extracted (``attention``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from interp_assets.cells.records import PreparedCells, ScreenLabels, Unavailable
from interp_assets.edges.records import AttentionEdges, EdgeMatrix, Reference
from interp_assets.models.records import ReleaseCard
from interp_assets.models.releases import Release, find_releases, read_release
from interp_assets.settings import AttentionSettings, Folders

PLANTED = "control-planted"
COEXPRESSION = "control-coexpression"
CONTROL_KINDS = {PLANTED: "positive_control", COEXPRESSION: "negative_control"}
TWINS = ("shuffled", "random-weights")


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
        facts={
            key: release.facts[key] for key in sorted(release.facts) if key not in ("files", "loss_curve")
        },
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
) -> AttentionEdges:
    """Attention of a release on disk over the control cells, extracted into ``folder`` unless it is there."""
    from interp_assets.models.edge_table import read_edge_table

    release = read_release(Path(card.folder))
    if release.family == "edge_table":
        return stored(read_edge_table(release, cells), folder)
    return _extracted(release, cells, folder, settings)


def random_twin_attention(
    card: ReleaseCard, cells: PreparedCells, folder: Path, settings: AttentionSettings, seed: int
) -> AttentionEdges | Unavailable:
    """Attention of the same architecture and tokeniser with weights drawn at random."""
    from interp_assets.models.controls import random_weights_release

    if card.family == "edge_table":
        return Unavailable(cells.dataset, "an edge table has no weights to draw at random")
    twin = random_weights_release(read_release(Path(card.folder)), folder / "release", seed=seed)
    return _extracted(twin, cells, folder, settings)


def planted_control_attention(
    cells: PreparedCells,
    labels: ScreenLabels,
    references: Mapping[str, Reference],
    folder: Path,
    settings: AttentionSettings,
    seed: int,
) -> AttentionEdges:
    """Attention of the positive control, a transformer built for this screen and read like any release."""
    from interp_assets.models.controls import planted_control_release

    release = planted_control_release(folder / "release", cells, labels, references, seed=seed)
    return _extracted(release, cells, folder, settings)


def coexpression_control_attention(
    cells: PreparedCells, correlation: EdgeMatrix, folder: Path
) -> AttentionEdges:
    """Edges of the negative control: same-cell correlation, written and read as a user's edge table."""
    from interp_assets.models.controls import coexpression_release
    from interp_assets.models.edge_table import read_edge_table

    release = coexpression_release(folder / "release", correlation)
    return stored(read_edge_table(release, cells), folder)


def _extracted(
    release: Release, cells: PreparedCells, folder: Path, settings: AttentionSettings
) -> AttentionEdges:
    from interp_assets.models.attention import ExtractionSettings, extract_attention

    how = ExtractionSettings(
        device=settings.device,
        dtype=settings.dtype,
        heads=settings.heads,
        memory_budget_gib=settings.memory_gib,
    )
    return extract_attention(release, cells, folder, how)


def stored(edges: AttentionEdges, folder: Path) -> AttentionEdges:
    """The same edges, kept in ``folder`` in the layout of extracted attention."""
    import numpy as np

    from interp_assets.models.attention_store import open_attention, write_attention

    matrix = edges.layer_matrix(0)
    counts = np.where(np.isfinite(matrix.score), 1, 0).astype(np.int32)
    facts = {
        **edges.facts,
        "release": edges.release,
        "dataset": edges.dataset,
        "cells_hash": edges.cells_hash,
        "layers": 1,
        "heads": 1,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_attention(
        folder,
        means=[np.nan_to_num(matrix.score, nan=0.0) * counts],
        heads=[],
        counts=counts,
        genes=edges.genes,
        facts=facts,
    )
    return open_attention(folder)
