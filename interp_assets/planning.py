"""What a study would fetch and compute, said without opening a file or the network.

Every number is either declared (a size in a dataset file), counted (roles, rows), or an estimate that carries its
formula. Measured constants are those of this project's own runs; assumed ones say so.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from interp_assets.cells.dataset_records import LOCKED, DatasetSpec, DownloadSource, MirrorSource, Source, WheelSource
from interp_assets.cells.datasets import load_datasets
from interp_assets.cells.sources import SourceContext, download_path, source_context
from interp_assets.layout import Layout, check_kinds
from interp_assets.models.files.releases import Release, find_releases
from interp_assets.settings import Folders, SettingsError, Study, load_study, study_files
from qc_standards.json_text import plain_json
from qc_standards.registry import declared_tests

GIB = float(1 << 30)
# Names of layers, heads, width, feed-forward width and longest sequence in the settings of a release.
SHAPE_KEYS = {
    "config.json": (
        ("num_hidden_layers",),
        ("num_attention_heads",),
        ("hidden_size",),
        ("intermediate_size",),
        ("max_position_embeddings",),
    ),
    "args.json": (("nlayers",), ("nheads", "nhead"), ("embsize",), ("d_hid",), ("max_seq_len",)),
}
CORE_RATE = 1.2e11  # FLOP/s of one core: forward of an 18 x 18 x 1,152 encoder, 1,024 tokens, 5.8 s, fp32
GPU_RATE = 4.5e13  # FLOP/s in fp32; assumed, no GPU was timed
ALL_HEADS, HEAD_MEAN = 1.5, 1.27  # extraction over the plain forward, measured paired on two cores
LINE_RATE = 2e7  # bytes a second; assumed
BOOSTING = 4.6  # seconds a million rows for one fit of 60 trees of 15 leaves, one core, measured
SPLITS = 3  # by perturbation, by gene, joint
EDGE_KINDS = 2  # attention and correlation


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Shape of an encoder, as far as costs go; ``name`` is the release or the published model."""

    name: str
    layers: int
    heads: int
    width: int
    feed_forward: int
    tokens: int
    here: bool

    @property
    def weights(self) -> int:
        """Weights of the encoder blocks: four square projections and a feed-forward block of two."""
        return self.layers * (4 * self.width**2 + 2 * self.width * self.feed_forward)

    def forward(self) -> float:
        """FLOP of one cell of the longest sequence: twice the weights a token, and attention of all tokens to all."""
        return 2.0 * self.weights * self.tokens + 4.0 * self.layers * self.tokens**2 * self.width


# The model behind most published rows; planned for where a study is the published context, present or not.
PUBLISHED_SHAPE = Shape(
    name="Geneformer V2-316M", layers=18, heads=18, width=1152, feed_forward=4608, tokens=4096, here=False
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePlan:
    """One file of a study: where it comes from and whether it is here; sizes in bytes, 0 where nobody states one."""

    file: str
    datasets: tuple[str, ...]
    origin: str
    address: str
    size: int
    size_is: str
    state: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetPlan:
    """One dataset of a study: the roles it fills and what is computed on it; 0 where a number is not known."""

    dataset: str
    roles: tuple[str, ...]
    modality: str
    published_modality: str
    disputed: str
    cells: int
    attended_cells: int
    genes: int
    reading_gib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """One estimated quantity with the formula behind it."""

    what: str
    value: float
    unit: str
    formula: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPlan:
    """Everything `interp studies plan` says."""

    study: str
    title: str
    files: tuple[FilePlan, ...]
    datasets: tuple[DatasetPlan, ...]
    releases: tuple[Shape, ...]
    estimates: tuple[Estimate, ...]
    without_role: Mapping[str, tuple[str, ...]]
    rows: int
    free_bytes: int
    notes: tuple[str, ...]

    def as_json(self) -> str:
        """The plan as JSON; equal plans give equal text."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)


def request_study(name: str) -> None:
    """Take a study that is marked ``on_request`` into this deployment, and into its worker processes, by its name."""
    path = study_files(Folders.from_environment().config).get(name)
    if path is not None and not os.environ.get("INTERP_STUDIES") and load_study(path).on_request:
        os.environ["INTERP_STUDIES"] = name


def plan(name: str, folders: Folders) -> StudyPlan:
    """Plan of one study of this deployment, whether or not it is among those that are evaluated by default.

    Raises
    ------
    SettingsError
        When there is no study of that name.
    """
    datasets = load_datasets(folders.config)
    paths = study_files(folders.config)
    if name not in paths:
        raise SettingsError(f"unknown study {name}; known: {', '.join(paths)}")
    study = load_study(paths[name], frozenset(datasets))
    check_kinds(study, datasets)
    layout = Layout(folders=folders, datasets=datasets, studies={name: study})
    context = source_context(folders.store, wheels=folders.wheels)
    files = tuple(_files(layout, context))
    rows = tuple(_datasets(layout, study))
    shapes = tuple(_shapes(find_releases(folders.releases).complete, study))
    return StudyPlan(
        study=name,
        title=study.title,
        files=files,
        datasets=rows,
        releases=shapes,
        estimates=tuple(_estimates(layout, study, files, rows, shapes)),
        without_role={
            spec.test_id: empty
            for spec in declared_tests()
            if (empty := tuple(role for role in spec.roles if role not in study.roles))
        },
        rows=len(declared_tests()),
        free_bytes=shutil.disk_usage(_existing(folders.store)).free,
        notes=tuple(_notes(study, layout, rows)),
    )


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.exists())


def _files(layout: Layout, context: SourceContext) -> Iterator[FilePlan]:
    """Every file once, with the datasets that are read from it, in the order of the study."""
    found: dict[str, FilePlan] = {}
    for name in layout.raw_feeds:
        spec = layout.datasets[name]
        if not spec.sources:
            continue
        item = _file(spec, context)
        known = found.get(item.address)
        users = (*(known.datasets if known else ()), name)
        found[item.address] = replace(item, datasets=users)
    order = {"missing": 0, "to be supplied": 1}
    yield from sorted(found.values(), key=lambda item: (order.get(item.state, 2), -item.size, item.file))


def _file(spec: DatasetSpec, context: SourceContext) -> FilePlan:
    """Plan of a dataset's file: its first source that is here, else the one it would be fetched from."""
    here = next((source for source in spec.sources if _present(source, context)), None)
    wanted = here or next(
        (source for source in spec.sources if isinstance(source, DownloadSource)),
        next((source for source in spec.sources if isinstance(source, WheelSource)), spec.sources[0]),
    )
    address, origin = _address(wanted)
    size, size_is = _size(wanted)
    locked = not isinstance(wanted, WheelSource) and wanted.sha256 == LOCKED
    known = context.locks.find(wanted.key) if locked and not isinstance(wanted, WheelSource) else None
    if known is not None:
        size, size_is = known.size, "locked"
    absent = "missing" if isinstance(wanted, DownloadSource | WheelSource) else "to be supplied"
    return FilePlan(
        file=Path(address).name if origin != "download" else _named(wanted),
        datasets=(spec.id,),
        origin=origin,
        address=address,
        size=size,
        size_is=size_is,
        state="here" if here else absent,
        hash=f"locked {known.sha256[:12]}" if known else "locked on first use" if locked else "declared",
    )


def _named(source: Source) -> str:
    return source.file_name if isinstance(source, DownloadSource) else ""


def _present(source: Source, context: SourceContext) -> bool:
    """Whether the source's file lies here; whether it is the right one is checked when it is read."""
    if isinstance(source, MirrorSource):
        return context.mirror is not None and (context.mirror / source.path).is_file()
    if isinstance(source, WheelSource):
        return (context.wheels / source.wheel).is_file()
    return download_path(source, context).is_file()


def _address(source: Source) -> tuple[str, str]:
    if isinstance(source, MirrorSource):
        return source.path, "mirror"
    if isinstance(source, WheelSource):
        return "/".join((source.wheel, *source.members)), "wheel"
    return source.url, "download"


def _size(source: Source) -> tuple[int, str]:
    if source.size:
        return source.size, "exact"
    about = source.about if isinstance(source, DownloadSource) else 0
    return about, "rough" if about else "not known"


def _datasets(layout: Layout, study: Study) -> Iterator[DatasetPlan]:
    for name in study.datasets:
        spec = layout.datasets[name]
        told = spec.published
        form = layout.datasets[spec.base].cells if spec.base else spec.cells
        cells = told.cells if told is not None else 0
        sampled = form.control_cells if form is not None else 0
        # Dense matrices are read as float32 and turned into sparse counts, about half as much again.
        dense = told is not None and told.dense and told.genes
        yield DatasetPlan(
            dataset=name,
            roles=tuple(role for role, filling in study.roles.items() if name in filling.datasets),
            modality=spec.modality,
            published_modality=told.modality if told is not None else "",
            disputed=told.disputed if told is not None else "",
            cells=cells,
            attended_cells=min(sampled, cells) if sampled and cells else sampled or cells,
            genes=spec.universe.genes if spec.universe is not None else 0,
            reading_gib=round(1.5 * 4 * cells * told.genes / GIB, 1) if told is not None and dense else 0.0,
        )


def _shapes(releases: Sequence[Release], study: Study) -> Iterator[Shape]:
    """Shapes of the complete releases that state one, and of the published model where it is planned for."""
    for release in releases:
        file = "args.json" if release.family == "scgpt" else "config.json"
        try:
            told = plain_json((release.folder / file).read_bytes())
            layers, heads, width, inner, tokens = (
                int(told.get(keys[0], told.get(keys[-1]))) for keys in SHAPE_KEYS[file]
            )
        except (OSError, ValueError, AttributeError, TypeError):
            continue  # an edge table, or a family that writes its shape elsewhere
        yield Shape(
            name=release.name, layers=layers, heads=heads, width=width, feed_forward=inner, tokens=tokens, here=True
        )
    if study.published_context:
        yield PUBLISHED_SHAPE


def _estimates(
    layout: Layout,
    study: Study,
    files: Sequence[FilePlan],
    rows: Sequence[DatasetPlan],
    shapes: Sequence[Shape],
) -> Iterator[Estimate]:
    owed = [item for item in files if item.state == "missing"]
    fetched = float(sum(item.size for item in owed))
    unknown = sum(not item.size for item in owed)
    lacking = f", {unknown} of unknown size left out" if unknown else ""
    yield Estimate(
        what="download",
        value=fetched / 1e9,
        unit="GB",
        formula=f"sum of exact and rough sizes of {len(owed)} missing file(s){lacking}",
    )
    yield Estimate(
        what="download time",
        value=fetched / LINE_RATE / 3600,
        unit="hours",
        formula=f"bytes / {LINE_RATE / 1e6:.0f} MB a second (assumed)",
    )
    known = [row for row in rows if row.reading_gib]
    if known:
        yield Estimate(
            what="memory to read the largest dense file",
            value=max(row.reading_gib for row in known),
            unit="GiB",
            formula="1.5 x 4 bytes x cells x genes; the sparse files are not estimated",
        )
    attended = [row for row in rows if row.dataset in layout.read_by(study.name)]
    answered = set(layout.answered(study.name))
    for shape in shapes:
        yield from _of_release(shape, study, attended, answered)
    yield from _battery(study, rows)


def _of_release(shape: Shape, study: Study, attended: Sequence[DatasetPlan], answered: set[str]) -> Iterator[Estimate]:
    """Extraction cost of one release over the datasets its attention is read on."""
    passes = sum(row.attended_cells * (2 if row.dataset in answered else 1) for row in attended)
    largest = max((row.genes for row in attended), default=0)
    all_heads = 4.0 * shape.layers * shape.heads * largest**2
    kept = all_heads if all_heads <= study.attention.memory_gib * GIB else 4.0 * shape.layers * largest**2
    over = ALL_HEADS if kept == all_heads else HEAD_MEAN
    flop = passes * shape.forward() * over
    yield Estimate(
        what=f"{shape.name}: extraction",
        value=float(passes) * shape.tokens * shape.layers / 1e6,
        unit="million token-layers",
        formula=f"{passes:,} cells (screens under criteria twice, for random weights) x {shape.tokens:,} tokens (the "
        f"longest sequence: an upper bound) x {shape.layers} layers",
    )
    yield Estimate(
        what=f"{shape.name}: extraction on one core",
        value=flop / CORE_RATE / 3600,
        unit="hours",
        formula=f"cells x {shape.forward() / 1e12:.3g} TFLOP x {over} / {CORE_RATE / 1e9:.0f} GFLOP/s (measured, fp32)",
    )
    yield Estimate(
        what=f"{shape.name}: extraction on one GPU",
        value=flop / GPU_RATE / 3600,
        unit="hours",
        formula=f"the same / {GPU_RATE / 1e12:.0f} TFLOP/s (assumed, fp32; never timed)",
    )
    yield Estimate(
        what=f"{shape.name}: GPU memory",
        value=(2 * kept + 4.0 * shape.weights) / GIB,
        unit="GiB",
        formula=f"two sums of 4 bytes x layers x {'heads x ' if kept == all_heads else ''}{largest:,}^2 genes, and "
        "4 bytes a weight; activations of a batch come on top",
    )
    stored = sum(
        4.0 * shape.layers * (1 + (shape.heads if kept == all_heads else 0)) * row.genes**2 for row in attended
    )
    yield Estimate(
        what=f"{shape.name}: attention on disk",
        value=stored * 1.0 / 1e9,
        unit="GB",
        formula="4 bytes x layers x (heads where kept + mean) x genes^2, over the attended datasets, without twins",
    )


def _battery(study: Study, rows: Sequence[DatasetPlan]) -> Iterator[Estimate]:
    """Lower bound of the battery's hours: the boosting fits of incremental value, which cost most of what is known."""
    screens = [row for row in rows if "primary_screen" in row.roles]
    if not screens or not screens[0].genes:
        return
    perturbations = max(study.battery.min_perturbations, 280 if study.published_context else 0)
    table = perturbations * (screens[0].genes - 1) / 1e6
    fits = SPLITS * study.battery.folds * (1 + EDGE_KINDS)
    trees = study.battery.boosting.get("iterations", 60.0) / 60.0
    counted = "the published 280" if study.published_context else "the fewest that are judged"
    yield Estimate(
        what="battery of one release, at least",
        value=fits * table * trees * BOOSTING / 3600,
        unit="hours",
        formula=f"{fits} boosting fits x {table:.2f} million pairs ({perturbations} perturbations, {counted}) x "
        f"{BOOSTING} s a million (measured, one core); nulls, interventions and readings are not estimated",
    )


def _notes(study: Study, layout: Layout, rows: Sequence[DatasetPlan]) -> Iterator[str]:
    if study.on_request:
        yield f"runs on request only: `interp evaluate --study {study.name}`, or INTERP_STUDIES={study.name}"
    for role, filling in study.roles.items():
        if filling.note:
            yield f"{role}: {filling.note} ({filling.role_fit})"
    for row in rows:
        if row.disputed:
            yield f"{row.dataset}: published as {row.published_modality}, treated as {row.modality}: {row.disputed}"
        if not row.attended_cells and row.dataset in layout.read_by(study.name):
            yield f"{row.dataset}: number of cells not known before the file is read; left out of the estimates"
