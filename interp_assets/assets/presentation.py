"""How the assets stand in the Dagster UI: groups in the order of the data flow, kinds, tags, columns, links to code.

What belongs here: what is shown of an asset before it ran, the same way for every asset. What does not: anything that
an asset computes, and what a materialisation shows (`interp_assets.metadata`). Nothing here enters a code version.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import dagster as dg

from interp_assets import columns
from interp_assets.comparison.changes import COLUMNS as CHANGE_COLUMNS
from interp_assets.io_managers import PATH
from interp_assets.metadata import CODE, table_schema
from interp_assets.report.claims_board import CLAIM_COLUMNS
from interp_assets.report.index import COLUMNS as BOARD_COLUMNS
from interp_assets.settings import PROJECT
from qc_standards.extended import EXTENDED_COLUMNS
from qc_standards.multiplicity import FRAME_COLUMNS

# Groups in the order in which data flows; the UI lists them by name, so the name begins with the place.
FLOW: Final = (
    "raw_data",
    "cells",
    "study_analyses",
    "models",
    "readings",
    "analyses",
    "results",
    "extended",
    "negative_twins",
    "judgement",
    "claims",
    "supplement",
    "figures",
    "comparison",
    "report",
)
# What a kind is called by the UI, which draws the mark of those it knows.
KINDS: Final = {"torch": "pytorch"}
STORED: Final = {"cells": "numpy", "models": "numpy", "analyses": "parquet", "study_analyses": "parquet"}
SCHEMAS: Final[Mapping[str, tuple[Sequence[str], Mapping[str, columns.Column]]]] = {
    "test_results": (FRAME_COLUMNS, columns.RESULT),
    "extended_results": (EXTENDED_COLUMNS, columns.RESULT),
    "de_labels": (tuple(columns.LABELS), columns.LABELS),
    "attention": (tuple(columns.ATTENTION), columns.ATTENTION),
    "correlation": (tuple(columns.EDGES), columns.EDGES),
    "verdict_changes": (CHANGE_COLUMNS, {**columns.LEADERBOARD, **columns.CHANGES}),
    "leaderboard": (BOARD_COLUMNS, columns.LEADERBOARD),
}
# Tables that an asset writes beside the one that the UI shows as its columns.
BESIDE: Final[Mapping[str, tuple[str, Sequence[str], Mapping[str, columns.Column]]]] = {
    "leaderboard": ("leaderboard_claims.parquet", CLAIM_COLUMNS, {**columns.LEADERBOARD, **columns.CLAIMS_BOARD}),
}
# Where the code is published: the address of the repository and the revision that runs, for links instead of paths.
REPOSITORY, REVISION = "INTERP_REPOSITORY_URL", "INTERP_REPOSITORY_REVISION"


def placed(group: str) -> str:
    """Name of a group in the UI: its place in the flow, then its own name.

    >>> placed("raw_data")
    '01_raw_data'

    Raises
    ------
    ValueError
        When the group has no place in the flow.
    """
    if group not in FLOW:
        raise ValueError(f"group {group} has no place in the data flow; add it to FLOW ({', '.join(FLOW)})")
    return f"{FLOW.index(group) + 1:02d}_{group}"


def presented(assets: Iterable[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """The same assets with group, kinds, tags, columns and links to their code as the UI shows them."""
    shown = [definition.map_asset_specs(_spec) for definition in assets]
    sourced: Sequence[Any] = dg.with_source_code_references(shown)
    repository = os.environ.get(REPOSITORY, "")
    if repository:
        sourced = dg.link_code_references_to_git(
            sourced,
            git_url=repository,
            git_branch=os.environ.get(REVISION) or "main",
            file_path_mapping=dg.AnchorBasedFilePathMapping(
                local_file_anchor=PROJECT / "pyproject.toml", file_anchor_path_in_repository="pyproject.toml"
            ),
        )
    return list(sourced)


def _spec(spec: dg.AssetSpec) -> dg.AssetSpec:
    group = spec.group_name or ""
    name = spec.key.path[-1]
    kinds = {KINDS.get(kind, kind) for kind in spec.kinds} | ({STORED[group]} if group in STORED else set())
    metadata = dict(spec.metadata)
    source = metadata.get(CODE)
    if source is not None:
        metadata["dagster/code_references"] = dg.CodeReferencesMetadataValue(code_references=[_reference(str(source))])
    if name in SCHEMAS:
        metadata["dagster/column_schema"] = table_schema(*SCHEMAS[name])
    if name in BESIDE:
        file, listed, words = BESIDE[name]
        metadata[f"columns of {file}"] = table_schema(listed, words)
    tags = {**{tag: value for tag, value in spec.tags.items() if not tag.startswith("dagster/kind/")}, **_tags(spec)}
    return spec.replace_attributes(
        group_name=placed(group), kinds=sorted(kinds), metadata=metadata, tags=tags, owners=spec.owners
    )


def _tags(spec: dg.AssetSpec) -> dict[str, str]:
    """Tags that a search finds: what there is one of the asset for, and whether it runs a model or is a control."""
    named = re.findall(r"{(\w+)}", str(spec.metadata.get(PATH, "")))
    tags = {"one_per": "-and-".join(sorted(set(named))) or ("store" if spec.partitions_def is None else "file")}
    if "torch" in spec.kinds:
        tags["runs"] = "model"
    if spec.key.path[0] in ("shuffled", "random_weights"):
        tags["control"] = "negative"
    return tags


@cache
def _lines(path: Path) -> tuple[str, ...]:
    return tuple(path.read_text(encoding="utf-8").splitlines())


def _reference(source: str) -> dg.LocalFileCodeReference:
    """Place of a ``module:function`` source in its file; the first line of the file for a module."""
    module, _, function = source.partition(":")
    place = PROJECT.joinpath(*module.split("."))
    path = place.with_suffix(".py") if place.with_suffix(".py").is_file() else place / "__init__.py"
    found = partial(re.match, rf"(?:def|class)\s+{re.escape(function)}\b|{re.escape(function)}\b\s*[:=]")
    line = next((number for number, text in enumerate(_lines(path), 1) if function and found(text)), 1)
    return dg.LocalFileCodeReference(file_path=str(path), line_number=line, label=function or module)
