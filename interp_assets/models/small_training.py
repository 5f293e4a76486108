"""Masked-gene training of the small Geneformer-layout models, and the loss that says whether they learned.

What belongs here: settings, the optimisation loop and the held-out loss. What does not: where cells come from,
how they are masked (`small_batches`), and the release folder (`small`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interp_assets.models.small_batches import (
    FIRST_GENE,
    IGNORED,
    MASK,
    PAD,
    EncodedCells,
    baseline_losses,
    mask_genes,
    sequences,
)

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import BertForMaskedLM

CURVE_EVERY = 50  # steps averaged into one point of the loss curve


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """Everything that decides the weights, given the cells and the vocabulary.

    The budget is in steps, so that two machines make the same model. Lengths count genes; every sequence adds
    ``<cls>`` and ``<eos>``. The last ``long_share`` of the steps sees ``long_genes`` genes per cell in
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

    @property
    def positions(self) -> int:
        """Longest sequence in tokens, special tokens included."""
        return self.long_genes + 2

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
    """Cross-entropy (nats) at masked positions of unseen cells, and of the rules that read no context."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A trained model with the record of how it got there."""

    model: BertForMaskedLM
    held_out: HeldOutLoss
    training_curve: list[tuple[int, float]]  # step, mean loss of the steps since the last point
    held_out_curve: list[tuple[int, int, float]]  # step, genes per cell, loss on a fixed part of the cells


def build_model(settings: TrainingSettings, vocabulary: int) -> BertForMaskedLM:
    """A BERT masked-language model with fresh weights, Geneformer's layout at the settings' size."""
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=settings.width,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        intermediate_size=settings.feed_forward,
        hidden_act="relu",
        hidden_dropout_prob=settings.hidden_dropout,
        attention_probs_dropout_prob=settings.attention_dropout,
        max_position_embeddings=settings.positions,
        layer_norm_eps=1e-12,
        initializer_range=0.02,
        type_vocab_size=2,
        pad_token_id=PAD,
    )
    # Eager is the faster attention here: with bfloat16 it halves the step of the fused CPU kernel.
    return BertForMaskedLM._from_config(config, attn_implementation="eager")


def train(
    training: EncodedCells, held_out: EncodedCells, settings: TrainingSettings, *, progress: bool = True
) -> Trained:
    """Model trained on one set of cells and judged on another.

    Draws come from ``numpy`` generators and a forked torch generator, both seeded by ``settings.seed``; the
    caller's global torch state and thread count are restored. On one machine, with one set of library
    versions and one thread count, the weights repeat byte for byte; across processors they need not.

    Raises
    ------
    ValueError
        If the loss stops being finite, which means the learning rate is too high for this depth.
    """
    import torch

    with _torch_state(settings):
        model = build_model(settings, FIRST_GENE + training.counts.shape[1])
        optimiser = torch.optim.AdamW(
            model.parameters(),
            lr=settings.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=settings.weight_decay,
        )
        rng = np.random.default_rng([settings.seed, 1])
        some = held_out.spread(settings.held_out_curve_cells)
        quizzes = {genes: _Exam(some, genes, settings) for genes in (settings.short_genes, settings.long_genes)}
        losses: list[float] = []
        held_out_curve = [(0, settings.at(0)[1], quizzes[settings.at(0)[1]].loss(model))]
        marks = {round(settings.steps * k / settings.held_out_points) for k in range(1, settings.held_out_points + 1)}
        with _progress_bar(settings.steps, progress) as bar:
            for step, rows in zip(range(settings.steps), _draws(training, settings, rng), strict=False):
                losses.append(_step(model, optimiser, training, rows, step, settings, rng))
                bar.update(1)
                bar.set_postfix(loss=f"{np.mean(losses[-CURVE_EVERY:]):.3f}", refresh=False)
                if step + 1 in marks:
                    genes = settings.at(step)[1]
                    held_out_curve.append((step + 1, genes, quizzes[genes].loss(model)))
                    bar.set_description(f"held-out {held_out_curve[-1][2]:.3f}", refresh=False)
        result = judge(model, training, held_out, settings)
    curve = [
        (end, float(np.mean(losses[max(0, end - CURVE_EVERY) : end])))
        for end in [*range(CURVE_EVERY, settings.steps, CURVE_EVERY), settings.steps]
    ]
    return Trained(model=model, held_out=result, training_curve=curve, held_out_curve=held_out_curve)


def _draws(cells: EncodedCells, settings: TrainingSettings, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Cells of each step: every cell once in random order before any cell is drawn again."""
    queue = np.empty(0, dtype=np.int64)
    for step in range(settings.steps):
        size = settings.at(step)[0]
        while queue.size < size:
            queue = np.concatenate((queue, rng.permutation(cells.counts.shape[0])))
        yield queue[:size]
        queue = queue[size:]


def _step(
    model: BertForMaskedLM,
    optimiser: Any,
    cells: EncodedCells,
    rows: NDArray[np.int64],
    step: int,
    settings: TrainingSettings,
    rng: np.random.Generator,
) -> float:
    import torch

    ids = sequences(cells.thinned_tokens(rows, settings.at(step)[1], rng, settings.thinning_floor))
    inputs, targets = mask_genes(ids, settings.mask_share, model.config.vocab_size, rng)
    for group in optimiser.param_groups:
        group["lr"] = settings.rate(step)
    model.train()
    loss = _masked_loss(model, inputs, targets, bfloat16=settings.bfloat16).mean()
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
    optimiser.step()
    value = float(loss.detach())
    if not np.isfinite(value):
        raise ValueError(f"loss is {value} at step {step}; lower learning_rate ({settings.learning_rate})")
    return value


def _masked_loss(
    model: BertForMaskedLM, inputs: NDArray[np.int64], targets: NDArray[np.int64], *, bfloat16: bool
) -> Tensor:
    """Cross-entropy of every target position; the vocabulary head runs on those positions only."""
    import torch

    ids, wanted = torch.from_numpy(inputs), torch.from_numpy(targets)
    chosen = wanted != IGNORED
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        hidden = model.bert(input_ids=ids, attention_mask=(ids != PAD).long()).last_hidden_state
        logits = model.cls(hidden[chosen])
    return torch.nn.functional.cross_entropy(logits.float(), wanted[chosen], reduction="none")


class _Exam:
    """One fixed set of masked positions in held-out cells."""

    def __init__(self, cells: EncodedCells, genes: int, settings: TrainingSettings) -> None:
        rng = np.random.default_rng([settings.seed, 2])
        self.truth = sequences(cells.tokens(np.arange(cells.counts.shape[0]), genes))
        self.chosen = (rng.random(self.truth.shape) < settings.mask_share) & (self.truth >= FIRST_GENE)
        if not self.chosen.any():
            raise ValueError("no position of the held-out cells was masked; they express too few genes")

    def loss(self, model: BertForMaskedLM) -> float:
        """Mean cross-entropy in float32, every chosen position shown as ``<mask>``."""
        import torch

        model.eval()
        inputs, targets = np.where(self.chosen, MASK, self.truth), np.where(self.chosen, self.truth, IGNORED)
        with torch.inference_mode():
            parts = [
                _masked_loss(model, inputs[a : a + 16], targets[a : a + 16], bfloat16=False)
                for a in range(0, len(inputs), 16)
            ]
        return float(torch.cat(parts).double().mean())


def judge(
    model: BertForMaskedLM, training: EncodedCells, held_out: EncodedCells, settings: TrainingSettings
) -> HeldOutLoss:
    """Loss of the model and of context-free baselines at the same masked positions of held-out cells."""
    exam = _Exam(held_out, settings.long_genes, settings)
    known = training.tokens(np.arange(training.counts.shape[0]), settings.long_genes)
    return HeldOutLoss(
        model=exam.loss(model),
        baselines=baseline_losses(known, exam.truth, exam.chosen, model.config.vocab_size),
        masked_positions=int(exam.chosen.sum()),
        cells=len(exam.truth),
    )


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
def _progress_bar(steps: int, shown: bool) -> Iterator[Any]:
    from tqdm import tqdm

    with tqdm(total=steps, unit="step", disable=not shown, mininterval=1.0, smoothing=0.05) as bar:
        yield bar
