"""Training of the small models, whatever their family: settings, the optimisation loop, the record of what came out.

What belongs here: what every family shares. What does not: what a model is, is shown and is measured by (a `Task`:
`geneformer`, `scgpt`), where cells come from, and the release folder (`small`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from interp_assets.models.bars import FORMAT
from interp_assets.models.small.cells import DonorCells

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

_log = logging.getLogger(__name__)

CURVE_EVERY = 50  # steps averaged into one point of the loss curve


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """Everything that decides the weights, given the cells and the vocabulary; defaults are the Geneformer layout's.

    The budget is in steps, so that two machines make the same model. Lengths count genes; every sequence adds
    its special tokens. The last ``long_share`` of the steps sees ``long_genes`` genes per cell in
    batches of ``long_batch``, which teaches the late positions at a fraction of the price. Attention
    probabilities are trained without dropout: drawing them costs a third of a step.
    """

    steps: int
    seed: int = 0
    threads: int = 1
    layers: int = 8
    heads: int = 8
    width: int = 128
    feed_forward: int = 256
    hidden_dropout: float = 0.02
    attention_dropout: float = 0.0
    batch: int = 16
    short_genes: int = 126
    long_genes: int = 256
    long_batch: int = 8
    long_share: float = 0.25
    learning_rate: float = 2e-3
    warmup: int = 100
    weight_decay: float = 0.01
    clip: float = 1.0
    mask_share: float = 0.2
    thinning_floor: float = 0.5
    bfloat16: bool = True
    held_out_points: int = 10
    held_out_curve_cells: int = 96

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}; a release needs at least one training step")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} does not split into {self.heads} heads")
        if not 0 < self.mask_share < 1 or not 0 < self.thinning_floor <= 1:
            raise ValueError("mask_share must lie in (0, 1) and thinning_floor in (0, 1]")
        if not 0 <= self.long_share <= 1 or self.short_genes > self.long_genes:
            raise ValueError("long_share must lie in [0, 1] and short_genes must not exceed long_genes")

    def at(self, step: int) -> tuple[int, int]:
        """Cells per batch and genes per cell at a step (0-based)."""
        if step < self.steps - round(self.steps * self.long_share):
            return self.batch, self.short_genes
        return self.long_batch, self.long_genes

    def rate(self, step: int) -> float:
        """Learning rate at a step: linear warm-up, then linear decay to zero."""
        warmup = min(self.warmup, max(1, self.steps // 2))
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        return self.learning_rate * (self.steps - step) / max(1, self.steps - warmup)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutLoss:
    """Loss at masked positions of unseen cells, and of the rules that read no context, in the unit of the task."""

    model: float
    baselines: dict[str, float]
    masked_positions: int
    cells: int

    @property
    def baseline(self) -> float:
        """The best of the context-free rules."""
        return min(self.baselines.values())

    @property
    def gap(self) -> float:
        """How far the model is below the best baseline; positive means it learned something."""
        return self.baseline - self.model


class Task(Protocol):
    """What a small model of one family is, is shown and is measured by.

    ``family`` is the family of its releases, ``loss_unit`` the unit of its losses in words and ``libraries`` what its
    weights depend on besides this repository.
    """

    family: ClassVar[str]
    loss_unit: ClassVar[str]
    libraries: ClassVar[tuple[str, ...]]

    @classmethod
    def of_donors(cls, training: DonorCells, held_out: DonorCells, genes: list[str], settings: Any) -> Self:
        """The task on the vocabulary ``genes``; whatever is fitted (medians, say) is fitted on ``training``."""
        ...

    @property
    def settings(self) -> TrainingSettings:
        """What decides the weights."""
        ...

    @property
    def training_cells(self) -> int:
        """How many cells are drawn from."""
        ...

    def build(self) -> Module:
        """A model with fresh weights, from torch's generator."""
        ...

    def loss(self, model: Any, rows: NDArray[np.int64], step: int, rng: np.random.Generator) -> Tensor:
        """Training loss (scalar) of the chosen cells, shown as the settings ask at this step."""
        ...

    def quiz(self, genes: int) -> Callable[[Any], float]:
        """Held-out loss of a model on a fixed part of the held-out cells, for the curve."""
        ...

    def judge(self, model: Any) -> HeldOutLoss:
        """Loss of the model and of context-free baselines at the same masked positions of all held-out cells."""
        ...

    def write(self, model: Any, genes: list[str], folder: Path) -> None:
        """Write weights, configuration and dictionaries as the family's published folders name them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A trained model with the record of how it got there."""

    model: Any
    held_out: HeldOutLoss
    training_curve: list[tuple[int, float]]  # step, mean loss of the steps since the last point
    held_out_curve: list[tuple[int, int, float]]  # step, genes per cell, loss on a fixed part of the cells


def measured_columns(cells: DonorCells, genes: list[str]) -> NDArray[np.int32]:
    """Column of each vocabulary gene in the cells.

    Raises
    ------
    ValueError
        If a gene is not measured.
    """
    where = {gene: i for i, gene in enumerate(cells.genes.tolist())}
    unknown = [gene for gene in genes if gene not in where]
    if unknown:
        raise ValueError(f"vocabulary genes {unknown[:10]} ({len(unknown)}) are not measured in the cells")
    return np.array([where[gene] for gene in genes], dtype=np.int32)


def train(task: Task, *, progress: bool = True) -> Trained:
    """Model trained on one set of cells and judged on another.

    Draws come from ``numpy`` generators and a forked torch generator, both seeded by the task's seed; the
    caller's global torch state and thread count are restored. On one machine, with one set of library
    versions and one thread count, the weights repeat byte for byte; across processors they need not.

    Raises
    ------
    ValueError
        If the loss stops being finite, which means the learning rate is too high for this depth.
    """
    import torch

    settings = task.settings
    with _torch_state(settings):
        model = task.build()
        optimiser = torch.optim.AdamW(
            model.parameters(),
            lr=settings.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=settings.weight_decay,
        )
        rng = np.random.default_rng([settings.seed, 1])
        quizzes = {genes: task.quiz(genes) for genes in (settings.short_genes, settings.long_genes)}
        losses: list[float] = []
        held_out_curve = [(0, settings.at(0)[1], quizzes[settings.at(0)[1]](model))]
        marks = {round(settings.steps * k / settings.held_out_points) for k in range(1, settings.held_out_points + 1)}
        with _progress_bar(task, progress) as bar:
            for step, rows in zip(range(settings.steps), _draws(task, rng), strict=False):
                losses.append(_step(task, model, optimiser, rows, step, rng))
                bar.update(1)
                bar.set_postfix(loss=f"{np.mean(losses[-CURVE_EVERY:]):.3f}", refresh=False)
                if step + 1 in marks:
                    genes = settings.at(step)[1]
                    held_out_curve.append((step + 1, genes, quizzes[genes](model)))
                    bar.set_description(f"training, held-out {held_out_curve[-1][2]:.3f}", refresh=False)
                    _log.info(
                        "training: %d of %d steps, held-out %.3f", step + 1, settings.steps, held_out_curve[-1][2]
                    )
        result = task.judge(model)
    curve = [
        (end, float(np.mean(losses[max(0, end - CURVE_EVERY) : end])))
        for end in [*range(CURVE_EVERY, settings.steps, CURVE_EVERY), settings.steps]
    ]
    return Trained(model=model, held_out=result, training_curve=curve, held_out_curve=held_out_curve)


def _draws(task: Task, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Cells of each step: every cell once in random order before any cell is drawn again."""
    queue = np.empty(0, dtype=np.int64)
    for step in range(task.settings.steps):
        size = task.settings.at(step)[0]
        while queue.size < size:
            queue = np.concatenate((queue, rng.permutation(task.training_cells)))
        yield queue[:size]
        queue = queue[size:]


def _step(
    task: Task, model: Module, optimiser: Any, rows: NDArray[np.int64], step: int, rng: np.random.Generator
) -> float:
    import torch

    settings = task.settings
    for group in optimiser.param_groups:
        group["lr"] = settings.rate(step)
    model.train()
    loss = task.loss(model, rows, step, rng)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
    optimiser.step()
    value = float(loss.detach())
    if not np.isfinite(value):
        raise ValueError(f"loss is {value} at step {step}; lower learning_rate ({settings.learning_rate})")
    return value


@contextmanager
def _torch_state(settings: TrainingSettings) -> Iterator[None]:
    """Seeded torch generator and fixed thread count inside, the caller's outside."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _progress_bar(task: Task, shown: bool) -> Iterator[Any]:
    """Bar over the steps on a terminal; time left from the latest steps, because later ones read more genes."""
    from tqdm import tqdm

    hidden = None if shown else True
    steps = task.settings.steps
    with tqdm(total=steps, desc="training", unit="step", disable=hidden, bar_format=FORMAT, smoothing=0.05) as bar:
        yield bar
