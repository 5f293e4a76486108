"""The repository that is watched, and what a look at it found."""

from __future__ import annotations

from pathlib import Path

from interp_assets.discovery.watch import Look
from interp_assets.models.files.releases import find_releases

from .hub_server import Hub

REPO = "lab/Geneformer"
MODEL = "Geneformer-V2-tiny"


def words(look: Look) -> list[str]:
    assert look.skipped == ""
    return [entry.word for entry in look.found]


def names(releases: Path) -> list[str]:
    return sorted(release.name for release in find_releases(releases).complete)


def weights_fetched(hub: Hub) -> int:
    return sum(line.startswith("GET") and line.endswith("/model.safetensors") for line in hub.asked)
