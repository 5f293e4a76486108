"""The straightforward ways of running a model give our numbers on a tiny random one."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tqdm import tqdm

from benchmarks.straightforward.clock import Clock, DisagreementError, Stand, found_at
from benchmarks.straightforward.stands import stands
from interp_assets.interventions.cells import encoded_cells, richest_cells, row_counts, subset
from interp_assets.interventions.run import Runner, Setting
from interp_assets.models.attention.plan import ScoredCells, plan_batches
from interp_assets.models.attention.run import ExtractionRun
from interp_assets.models.attention.settings import ExtractionSettings
from interp_assets.models.families.geneformer import GeneformerModel, load_geneformer
from interp_assets.models.files.releases import read_release
from interp_assets.models.interventions import Intervention
from interp_assets.readings import value_weighted
from interp_assets.readings.cell_attention import _Asked
from interp_assets.readings.coalitions import Sequences, components_of
from interp_assets.readings.hidden_genes import hidden_genes
from interp_assets.readings.layer_attention import Wanted


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"straightforward_{path.parent.name}_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


UNIT = Path(__file__).parents[1]
example, models = _module(UNIT / "interventions" / "example_bert.py"), _module(UNIT / "models" / "conftest.py")
ROWS = np.array([5, 1, 9])
CHANGES = (
    Intervention(zero=((1, 0), (1, 2))),
    Intervention(uniform=((0, 1), (2, 3))),
    Intervention(mlp=(2,)),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> GeneformerModel:
    folder = example.write_bert(tmp_path_factory.mktemp("bert") / "tiny", models.seal, layers=4, head="untied")
    return load_geneformer(read_release(folder))


@pytest.fixture(scope="module")
def cells(model: GeneformerModel) -> ScoredCells:
    genes = [f"G{number}" for number in range(30)]
    prepared = models.prepared_cells(example.toy_counts(9, 30), genes, genes[:22], control=np.arange(9) != 4)
    return encoded_cells(model, prepared, np.array(genes[:22]))


@pytest.fixture(scope="module")
def setting(model: GeneformerModel, cells: ScoredCells) -> Setting:
    chosen = subset(cells, richest_cells(cells, ROWS, 0))
    batches = plan_batches(chosen, 60, 10**6).batches
    form = model.describe().forms[0]
    return Setting(model=model, cells=chosen, batches=batches, rows=ROWS, read_layers=(1, 3), form=form)


def compared(name: str, *given: Any) -> None:
    """Run ours and every part of the twin; the clock raises where they differ."""
    stand: Stand = next(each for each in stands() if each.fast.endswith(name))
    clock = Clock(full=True)
    clock.call(stand, found_at(stand.fast)[2], given, {})
    clock.require_agreement()
    (seen,) = clock.counted.values()
    assert seen.parts_done == seen.parts > 1


@pytest.mark.parametrize("heads", ["all", "mean"])
def test_eager_attention_of_every_cell_is_what_the_extraction_adds(
    model: GeneformerModel, cells: ScoredCells, tmp_path: Path, heads: str
) -> None:
    settings = ExtractionSettings(heads=heads, progress=False)
    run = ExtractionRun(model=model, cells=cells, settings=settings, folder=tmp_path, key="key", label="tiny")
    compared("ExtractionRun.run", run)


@pytest.mark.parametrize("embedded", [True, False])
def test_eager_attention_of_every_cell_is_what_is_kept_of_single_cells(
    model: GeneformerModel, setting: Setting, embedded: bool
) -> None:
    cells = setting.cells
    sizes = np.diff(cells.offsets)
    own = [int(np.isin(cells.gene[a:b], ROWS).sum()) for a, b in zip(cells.offsets, cells.offsets[1:], strict=False)]
    every = np.arange(sizes.size)
    genes = np.array([f"G{number}" for number in range(22)])
    about = {"positions": every, "entries": sizes * own, "held": every.size, "embedded": embedded}
    asked = _Asked(layers=(0, 2), cells=cells, genes=genes, rows=ROWS, **about)
    compared("_read_cells", model, asked, "tiny")


def test_all_heads_of_the_row_genes_are_those_of_eager_attention(setting: Setting) -> None:
    compared("head_rows", setting, range(1, 4))


def test_conditions_run_from_the_start_with_hooks_move_every_read_out_alike(setting: Setting) -> None:
    compared("Runner.run", Runner(setting), CHANGES)


def test_a_condition_that_silences_another_head_is_noticed(setting: Setting) -> None:
    stand = next(each for each in stands() if each.fast.endswith("Runner.run"))
    other = (Intervention(zero=((1, 1), (1, 2))), *CHANGES[1:])
    clean, found = Runner(setting).run(other)
    twin = stand.twin(Runner(setting), CHANGES)
    assert twin.part(0)
    ours = replace_part(twin, Runner(setting), other)
    clock = Clock(full=True)
    clock.call(replace(stand, twin=lambda *_: ours), lambda *_: (clean, found), (), {})
    with pytest.raises(DisagreementError):
        clock.require_agreement()


def replace_part(twin: Any, runner: Runner, changes: tuple[Intervention, ...]) -> Any:
    """The twin of some conditions, held against our run of others."""
    stand = next(each for each in stands() if each.fast.endswith("Runner.run"))
    return replace(twin, ours=stand.twin(runner, changes).ours)


def test_coalitions_run_one_by_one_predict_alike(model: GeneformerModel) -> None:
    rng = np.random.default_rng(0)
    tokens = [np.array([2, *rng.choice(np.arange(4, 34), size, replace=False), 3]) for size in (9, 14, 6, 12)]
    asked = Sequences(tokens=tokens, at=np.array([2, 3, 1, 5]), asked=np.array([7, 9, 11, 30]))
    for granularity in ("mlp", "heads"):
        parts = components_of(granularity, 4, 4)
        compared("read_coalitions", model, model.output(), asked, parts, [0, 1, 6, (1 << len(parts)) - 1])


def test_one_layer_on_some_cells_is_that_of_eager_attention(model: GeneformerModel, cells: ScoredCells) -> None:
    members = np.arange(cells.offsets.size - 1) % 2 == 0
    wanted = [Wanted(cells=cells, members=members), Wanted(cells=cells, members=~members, single_heads=True)]
    with tqdm(disable=True) as bar:
        compared("layer_sums", model, cells, wanted, 2, bar)


def test_rows_of_fewer_genes_are_those_of_eager_attention(model: GeneformerModel, cells: ScoredCells) -> None:
    compared("read_rows", model, cells, ROWS, [0, 3], row_counts(cells, ROWS))


def test_context_vectors_of_every_cell_are_those_that_hooks_catch(model: GeneformerModel, cells: ScoredCells) -> None:
    genes, every = np.array([f"G{number}" for number in range(22)]), np.arange(cells.offsets.size - 1)
    asked = value_weighted._Asked(cells=cells, genes=genes, positions=every, drawn=False)
    compared("value_weighted:_read_layers", model, asked, 0.6, "tiny")


def test_predictions_of_single_sequences_are_those_of_batches(model: GeneformerModel) -> None:
    rng = np.random.default_rng(1)
    tokens = [np.array([2, *rng.choice(np.arange(4, 34), size, replace=False), 3]) for size in (9, 14, 6)]
    compared("_at_places", model, hidden_genes(model), tokens, [2, 7, 3], 12)
