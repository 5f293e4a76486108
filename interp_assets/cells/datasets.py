"""Declared datasets: what a dataset is, where its file comes from, how it is read; one YAML file each.

Built-in files lie in ``interp_assets/datasets``; a user's folder adds to them, and a file there with the
same id takes the place of the built-in one. Nothing here opens a data file: see `sources` and `prepare`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from interp_assets.cells import dataset_sections as sections
from interp_assets.cells.dataset_records import DatasetSpec
from interp_assets.cells.declared import DeclarationError, read_declaration
from interp_assets.cells.differential import LabelRule

__all__ = ["DatasetSpec", "dataset", "load_dataset", "load_datasets"]

KINDS = (
    "cells",
    "outcome_only",
    "planted",
    "simulated",
    "network",
    "gene_sets",
    "gene_table",
    "gene_list",
    "guide_table",
    "vocabulary",
)
MADE_HERE = ("planted", "simulated")  # no file of their own stands behind them
DATA_ORIGINS = ("real", "archived", "semi_synthetic", "simulated")
SPECIES = ("human", "mouse")
MODALITIES = ("none", "crispri", "crispra", "crisprko")
BUILT_IN = Path(__file__).resolve().parent.parent / "datasets"
_ID = re.compile(r"[a-z0-9][a-z0-9_]*")


def load_dataset(path: Path) -> DatasetSpec:
    """Dataset declared by one YAML file.

    Raises
    ------
    DeclarationError
        Names the file, the key and what is allowed there.
    """
    top = read_declaration(path)
    identifier = top.text("id")
    if not _ID.fullmatch(identifier):
        raise top.error("id", f"is {identifier!r}; use lower-case letters, digits and underscores.")
    kind = top.choice("kind", KINDS)
    spec = DatasetSpec(
        id=identifier,
        title=top.text("title"),
        kind=kind,
        species=top.choice("species", SPECIES),
        data_origin=top.choice("data_origin", DATA_ORIGINS),
        licence=top.text("licence"),
        file=path,
        provenance=sections.provenance(top),
        traps=top.texts("traps"),
        sources=sections.sources(top, required=kind not in MADE_HERE),
        cells=sections.cells_format(top.section("cells")) if kind == "cells" else None,
        universe=sections.universe_rule(top.section("universe")) if kind in ("cells", "outcome_only") else None,
        outcomes=sections.outcome_format(top.section("outcomes")) if kind == "outcome_only" else None,
        differential=sections.label_rule(top.section("differential")) if top.has("differential") else LabelRule(),
        network=sections.network_format(top.section("network")) if kind in ("network", "gene_sets") else None,
        guide_table=sections.guide_table_format(top.section("guide_table")) if kind == "guide_table" else None,
        vocabulary=sections.vocabulary_format(top.section("vocabulary")) if kind == "vocabulary" else None,
        base=top.text("base") if kind in ("planted", "outcome_only") else "",
        planted_network=top.text("network") if kind in MADE_HERE else "",
        planted=top.mapping("planted") if kind == "planted" else {},
        simulated=top.mapping("simulated") if kind == "simulated" else {},
        modality=top.choice("modality", MODALITIES, "none"),
        context_mismatch=top.text("context_mismatch", ""),
        published=sections.published_context(top.section("published")) if top.has("published") else None,
    )
    top.finish()
    _check_kind(spec)
    return spec


def load_datasets(config_dir: Path | None = None) -> dict[str, DatasetSpec]:
    """All datasets by id: the built-in ones, then those of ``config_dir/datasets``, which win on the same id.

    Raises
    ------
    DeclarationError
        For a malformed file, an id declared twice in one folder, an id that is not the file name, or a
        reference to a dataset that does not exist or is of the wrong kind.
    """
    specs = _folder(BUILT_IN)
    if config_dir is not None:
        if not config_dir.is_dir():
            raise DeclarationError(f"{config_dir}: is not a folder. Name an existing --config-dir.")
        specs |= _folder(config_dir / "datasets")
    for spec in specs.values():
        check_references(spec, specs)
    return specs


def dataset(specs: Mapping[str, DatasetSpec], identifier: str, asked_by: str) -> DatasetSpec:
    """Dataset of that id; `asked_by` (a file and key) is named when there is none."""
    if identifier not in specs:
        raise DeclarationError(
            f"{asked_by}: unknown dataset {identifier!r}; known: {', '.join(sorted(specs))}. "
            "Correct the name or add datasets/<name>.yaml to the folder given by --config-dir."
        )
    return specs[identifier]


def _folder(folder: Path) -> dict[str, DatasetSpec]:
    found: dict[str, DatasetSpec] = {}
    for path in sorted(folder.glob("*.yaml")):
        spec = load_dataset(path)
        if spec.id != path.stem:
            raise DeclarationError(f"{path}: key `id`: is {spec.id!r}; it must equal the file name {path.stem!r}.")
        found[spec.id] = spec
    return found


def _check_kind(spec: DatasetSpec) -> None:
    if spec.kind == "planted":
        if spec.data_origin != "semi_synthetic":
            raise DeclarationError(
                f"{spec.file}: key `data_origin`: is {spec.data_origin!r}; a planted screen is semi_synthetic."
            )
        if not spec.planted:
            raise DeclarationError(f"{spec.file}: key `planted`: is missing. Give the recipe's parameters.")
    if spec.kind == "simulated":
        if spec.data_origin != "simulated":
            raise DeclarationError(
                f"{spec.file}: key `data_origin`: is {spec.data_origin!r}; a simulated trajectory is simulated."
            )
        if not spec.simulated:
            raise DeclarationError(f"{spec.file}: key `simulated`: is missing. Give the recipe's knobs, such as seed.")
    if spec.differential != LabelRule() and spec.kind != "cells":
        raise DeclarationError(f"{spec.file}: key `differential`: only a dataset of kind cells is tested here.")
    if spec.species == "human" and spec.cells is not None and spec.cells.orthologs:
        raise DeclarationError(
            f"{spec.file}: key `cells.orthologs`: renames genes of another species to human ones; `species` is human."
        )
    if spec.kind == "outcome_only" and not spec.context_mismatch:
        raise DeclarationError(
            f"{spec.file}: key `context_mismatch`: is missing. Say in which cells the outcomes were "
            "measured and in "
            "which cells the scores are computed."
        )


def check_references(spec: DatasetSpec, specs: Mapping[str, DatasetSpec]) -> None:
    """Check that every dataset ``spec`` names is one of ``specs`` and of the right kind.

    Raises
    ------
    DeclarationError
        Naming the file, the key and the dataset that is unknown or of another kind.
    """
    wanted = [("base", spec.base, "cells"), ("network", spec.planted_network, "network")]
    if spec.cells is not None:
        wanted.append(("cells.gene_table", spec.cells.gene_table, "gene_table"))
        wanted.append(("cells.orthologs", spec.cells.orthologs, "gene_table"))
        if spec.cells.guides is not None:
            wanted.append(("cells.guides.table", spec.cells.guides.table, "guide_table"))
    if spec.vocabulary is not None:
        wanted.append(("vocabulary.gene_table", spec.vocabulary.gene_table, "gene_table"))
    for key, identifier, kind in wanted:
        if not identifier:
            continue
        other = dataset(specs, identifier, f"{spec.file}: key `{key}`")
        if other.kind != kind:
            raise DeclarationError(
                f"{spec.file}: key `{key}`: {identifier!r} is of kind {other.kind}; it must be of kind {kind}."
            )
