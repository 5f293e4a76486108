"""Declared datasets: what a dataset is, where its file comes from, how it is read; one YAML file each.

Built-in files lie in ``interp_assets/datasets``; a user's folder adds to them, and a file there with the
same id takes the place of the built-in one. Nothing here opens a data file: see `sources` and `prepare`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from interp_assets.cells.dataset_records import (
    CellsFormat,
    DatasetSpec,
    DownloadSource,
    MirrorSource,
    NetworkFormat,
    OutcomeFormat,
    Source,
    UniverseRule,
    WheelSource,
)
from interp_assets.cells.declared import Declaration, DeclarationError, read_declaration
from interp_assets.cells.panels import read_panel

__all__ = ["DatasetSpec", "dataset", "load_dataset", "load_datasets"]

KINDS = ("cells", "outcome_only", "planted", "network", "gene_sets", "gene_table", "gene_list")
DATA_ORIGINS = ("real", "archived", "semi_synthetic", "simulated")
SPECIES = ("human", "mouse")
MODALITIES = ("none", "crispri", "crispra", "crisprko")
BUILT_IN = Path(__file__).resolve().parent.parent / "datasets"
_SHA256 = re.compile(r"[0-9a-f]{64}")
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
        provenance=_provenance(top),
        traps=top.texts("traps"),
        sources=_sources(top, required=kind != "planted"),
        cells=_cells(top.section("cells")) if kind == "cells" else None,
        universe=_universe(top.section("universe")) if kind in ("cells", "outcome_only") else None,
        outcomes=_outcomes(top.section("outcomes")) if kind == "outcome_only" else None,
        network=_network(top.section("network")) if kind in ("network", "gene_sets") else None,
        base=top.text("base") if kind in ("planted", "outcome_only") else "",
        planted_network=top.text("network") if kind == "planted" else "",
        planted=top.mapping("planted") if kind == "planted" else {},
        modality=top.choice("modality", MODALITIES, "none"),
        context_mismatch=top.text("context_mismatch", ""),
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
    for key, identifier, kind in wanted:
        if not identifier:
            continue
        other = dataset(specs, identifier, f"{spec.file}: key `{key}`")
        if other.kind != kind:
            raise DeclarationError(
                f"{spec.file}: key `{key}`: {identifier!r} is of kind {other.kind}; it must be of kind {kind}."
            )


def _provenance(top: Declaration) -> dict[str, str]:
    found = top.mapping("provenance")
    if not found or not all(isinstance(value, str) for value in found.values()):
        raise top.error("provenance", "must map texts such as study, url, commit to texts.")
    return found


def _sources(top: Declaration, required: bool) -> tuple[Source, ...]:
    found = tuple(_source(item) for item in top.sections("sources"))
    if required and not found:
        raise top.error("sources", "lists nothing. Give at least one of mirror, wheel, download.")
    return found


def _source(item: Declaration) -> Source:
    kinds = item.keys()
    if len(kinds) != 1 or kinds[0] not in ("mirror", "wheel", "download"):
        raise item.error("", f"must hold exactly one of mirror, wheel, download; found {', '.join(kinds)}.")
    body = item.section(kinds[0])
    sha256, size = _digest(body, "sha256"), body.integer("size", minimum=1)
    source: Source
    if kinds[0] == "mirror":
        source = MirrorSource(path=_relative(body, "path"), sha256=sha256, size=size)
    elif kinds[0] == "wheel":
        members = body.texts("members")
        if not members:
            raise body.error("members", "lists nothing. Name the member of the wheel.")
        wheel = _relative(body, "file")
        source = WheelSource(
            wheel=wheel,
            wheel_sha256=_digest(body, "wheel_sha256"),
            members=members,
            sha256=sha256,
            size=size,
        )
    else:
        url = body.text("url")
        if not url.startswith("https://"):
            raise body.error("url", f"is {url!r}; only https is read.")
        source = DownloadSource(url=url, sha256=sha256, size=size)
    body.finish()
    return source


def _digest(body: Declaration, key: str) -> str:
    found = body.text(key)
    if not _SHA256.fullmatch(found):
        raise body.error(key, f"is {found!r}; give the 64 lower-case hexadecimal digits that `sha256sum` prints.")
    return found


def _relative(body: Declaration, key: str) -> str:
    found = body.text(key)
    if Path(found).is_absolute() or ".." in Path(found).parts:
        raise body.error(key, f"is {found!r}; give a path inside the folder, without `..`.")
    return found


def _cells(body: Declaration) -> CellsFormat:
    obs: dict[str, tuple[str, ...]] = {}
    if body.has("obs"):
        columns = body.section("obs")
        obs = {name: columns.texts(name) for name in columns.keys()}  # noqa: SIM118 (not a dict)
    found = CellsFormat(
        counts=body.text("counts", "X"),
        gene_id=body.choice("gene_id", ("symbol", "ensembl"), "symbol"),
        gene_table=body.text("gene_table", ""),
        obs=obs,
        control_label=body.text("control_label", ""),
        control_cells=body.integer("control_cells", 0),
        control_seed=body.integer("control_seed", 0),
        min_genes_per_cell=body.integer("min_genes_per_cell", 0),
        min_cells_per_gene=body.integer("min_cells_per_gene", 0),
        max_unknown_genes=body.share("max_unknown_genes", 1.0),
    )
    if found.control_label and "perturbation" not in obs:
        raise body.error("obs", "names no `perturbation` column although `control_label` is given.")
    if found.gene_id == "ensembl" and not found.gene_table:
        raise body.error("gene_table", "is missing. Ensembl ids need a gene table to become symbols.")
    body.finish()
    return found


def _universe(body: Declaration) -> UniverseRule:
    panel = body.text("panel", "")
    try:
        panel_genes = read_panel(panel, body.path.parent.parent) if panel else ()
    except ValueError as error:
        raise body.error("panel", str(error)) from error
    found = UniverseRule(
        genes=body.integer("genes", 2000),
        method=body.choice("method", ("seurat_dispersion", "log_variance"), "seurat_dispersion"),
        forced=body.choice("forced", ("none", "screen", "panel"), "none"),
        panel=panel,
        panel_genes=panel_genes,
        min_detection=body.share("min_detection", 0.0),
    )
    if (found.forced == "panel") != bool(found.panel):
        raise body.error("panel", "must be given when, and only when, `forced` is panel.")
    if found.genes == 0 and found.forced == "none":
        raise body.error("genes", "is 0 and no gene is forced: nothing would be scored.")
    body.finish()
    return found


def _outcomes(body: Declaration) -> OutcomeFormat:
    found = OutcomeFormat(
        perturbation=body.text("perturbation"),
        gene=body.text("gene"),
        label=body.text("label"),
        split=body.text("split", ""),
        train_value=body.text("train_value", "train"),
        direction=body.text("direction", ""),
    )
    body.finish()
    return found


def _network(body: Declaration) -> NetworkFormat:
    thresholds = body.mapping("thresholds")
    for name, value in thresholds.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise body.error(f"thresholds.{name}", f"must be a number, found {value!r}.")
    found = NetworkFormat(
        format=body.choice("format", ("sif", "tsv", "parquet")),
        source=body.text("source", "tf"),
        target=body.text("target", "target"),
        relation=body.text("relation", ""),
        directed=body.flag("directed", True),
        min_targets=body.integer("min_targets", 1, minimum=1),
        thresholds=thresholds,
        set_name=body.text("set_name", "Name"),
        members=body.text("members", "Genes"),
        separator=body.text("separator", ";"),
        max_set_size=body.integer("max_set_size", 0),
    )
    if found.format == "sif" and not found.relation:
        raise body.error("relation", "is missing. A SIF file mixes relations; name the one to keep.")
    body.finish()
    return found
