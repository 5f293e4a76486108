"""Small scGPT-layout models: an encoder over pairs of gene and binned value, trained to predict hidden values.

What belongs here: the settings, the loss, the held-out exam and the files of the layout. What does not: the
optimisation loop (`training`), the modules (`scgpt_model`), and binning and masks (`values`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from interp_assets.cells.prepare import normalised_log
from interp_assets.models.files.written_folders import json_bytes
from interp_assets.models.small.batches import VocabularyCells
from interp_assets.models.small.cells import DonorCells
from interp_assets.models.small.training import HeldOutLoss, TrainingSettings, measured_columns
from interp_assets.models.small.values import (
    MASK_VALUE,
    PAD_VALUE,
    SPECIAL_TOKENS,
    ValueSequences,
    mean_values,
    value_baselines,
    value_sequences,
)

if TYPE_CHECKING:
    from torch import Tensor

    from interp_assets.models.small.scgpt_model import MaskedValueModel

LEAST_DEVIATION = 0.05  # of a gene, in natural logarithms of normalised counts
JUDGED_AT_ONCE = 16  # held-out cells per forward pass


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueTrainingSettings(TrainingSettings):
    """Settings of the scGPT layout: what is shared, with its own shape, how zeros and bins are made, how genes start.

    ``zero_share`` of the genes are not expressed in the held-out sequences. In training the share differs from cell to
    cell (`zero_shares`): with one share for all, the zeros that are shown would give away how many are hidden, and a
    sequence without zeros could not be read. ``bins`` counts the bin of zeros. Values to be predicted share a bin where
    counts are equal; in ``random_ties`` of the cells the values read are scattered over the tied bins, so that the
    model can read both. Gene embeddings start from ``axes`` principal axes of the training
    cells (`principal_loadings`): from random ones, thousands of steps teach nothing beyond the mean of each gene.
    """

    layers: int = 4
    heads: int = 4
    feed_forward: int = 128
    batch: int = 8
    short_genes: int = 128
    long_batch: int = 4
    long_share: float = 0.1
    mask_share: float = 0.4
    zero_share: float = 0.25
    without_zeros: float = 0.25
    bins: int = 51
    random_ties: float = 0.5
    axes: int = 24

    def __post_init__(self) -> None:
        TrainingSettings.__post_init__(self)
        if not 0 <= self.zero_share < 0.5 or not 0 <= self.without_zeros <= 1:
            raise ValueError(
                "zero_share must lie in [0, 0.5), since it is doubled at most, and without_zeros in [0, 1]"
            )
        if self.bins < 3:
            raise ValueError(f"bins is {self.bins}; at least 3 are needed, the bin of zeros included")
        if not 0 <= self.random_ties <= 1 or not 0 <= self.axes < self.width:
            raise ValueError(f"random_ties must lie in [0, 1] and axes in [0, {self.width}), below the width")

    def zero_shares(self, cells: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Share of zeros of each training cell: none in ``without_zeros`` of them, else up to twice ``zero_share``."""
        shares = rng.uniform(0.0, 2.0 * self.zero_share, size=cells)
        return np.where(rng.random(cells) < self.without_zeros, 0.0, shares)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedValues:
    """Predicting hidden binned values from the other genes of a cell (a `training.Task`).

    Column ``j`` of the cells carries token ``j``; the special tokens follow.
    """

    family: ClassVar[str] = "scgpt"
    loss_unit: ClassVar[str] = (
        "squared bins per hidden value, zeros included, every hidden value shown as the mask value"
    )
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "scipy", "torch")

    training: VocabularyCells
    held_out: VocabularyCells
    settings: ValueTrainingSettings

    @classmethod
    def of_donors(
        cls, training: DonorCells, held_out: DonorCells, genes: list[str], settings: ValueTrainingSettings
    ) -> Self:
        """The task on the vocabulary ``genes``.

        Raises
        ------
        ValueError
            If a gene is not measured.
        """
        columns = measured_columns(training, genes)
        return cls(
            training=VocabularyCells(counts=training.counts[:, columns]),
            held_out=VocabularyCells(counts=held_out.counts[:, columns]),
            settings=settings,
        )

    @property
    def training_cells(self) -> int:
        """Cells of the training donors."""
        return int(self.training.counts.shape[0])

    def build(self) -> MaskedValueModel:
        """A model whose predictions start at the scale of the bins and whose genes start from their loadings."""
        model = build_model(self.settings, int(self.training.counts.shape[1]))
        model.encoder.start_from(principal_loadings(self.training, self.settings))
        model.decoder.start_at(self.settings.bins / 2.0, self.settings.bins / 5.0)
        return model

    def loss(self, model: MaskedValueModel, rows: NDArray[np.int64], step: int, rng: np.random.Generator) -> Tensor:
        """Mean squared error of hidden values of the thinned cells."""
        cells = self.training.thinned(rows, rng, self.settings.thinning_floor)
        settings = self.settings
        genes, zeros = settings.at(step)[1], settings.zero_shares(rows.size, rng)
        shown = value_sequences(cells, genes, settings.bins, zeros, rng, settings.random_ties)
        hidden = shown.hidden(self.settings.mask_share, rng)
        return squared_errors(model, shown, hidden, bfloat16=self.settings.bfloat16).mean()

    def quiz(self, genes: int) -> Callable[[MaskedValueModel], float]:
        """Held-out loss on a fixed part of the held-out cells."""
        return _Exam(self.held_out.spread(self.settings.held_out_curve_cells), genes, self.settings).loss

    def judge(self, model: MaskedValueModel) -> HeldOutLoss:
        """Squared error of the model and of context-free baselines at the same hidden values."""
        settings = self.settings
        exam = _Exam(self.held_out, settings.long_genes, settings)
        means = mean_values(self.training, settings.long_genes, settings.bins, settings.zero_share)
        return HeldOutLoss(
            model=exam.loss(model),
            baselines=value_baselines(means, exam.truth, exam.hidden),
            masked_positions=int(exam.hidden.sum()),
            cells=len(exam.truth.genes),
        )

    def write(self, model: MaskedValueModel, genes: list[str], folder: Path) -> None:
        """The published three files: plain state dict, ``args.json``, ``vocab.json``."""
        import torch

        torch.save(dict(model.state_dict()), folder / "best_model.pt")
        tokens = {token: i for i, token in enumerate([*genes, *SPECIAL_TOKENS])}
        (folder / "vocab.json").write_bytes(json_bytes(tokens))
        (folder / "args.json").write_bytes(json_bytes(published_arguments(self.settings)))


def build_model(settings: ValueTrainingSettings, genes: int) -> MaskedValueModel:
    """A model with fresh weights for a vocabulary of so many genes and the special tokens."""
    from interp_assets.models.small.scgpt_model import MaskedValueModel

    return MaskedValueModel(
        vocabulary=genes + len(SPECIAL_TOKENS),
        padding=genes + SPECIAL_TOKENS.index("<pad>"),
        layers=settings.layers,
        heads=settings.heads,
        width=settings.width,
        feed_forward=settings.feed_forward,
        dropout=settings.hidden_dropout,
    )


def principal_loadings(cells: VocabularyCells, settings: ValueTrainingSettings) -> NDArray[np.float32]:
    """Where each gene lies before training (genes x (axes + 1)): its loadings on principal axes, and its mean bin.

    Axes of the standardised log-normalised values. A loading is the correlation of gene and axis, but for genes of
    little variance, which are drawn towards zero. The mean bin, standardised over genes, has half the weight.
    """
    import torch

    log = normalised_log(cells.counts).toarray().astype(np.float64)
    spread = (log - log.mean(axis=0)) / (log.std(axis=0) + LEAST_DEVIATION)
    # By torch, whose threads the settings fix: with other threads the last digits differ, and then every weight.
    _, size, axes = (part.numpy() for part in torch.linalg.svd(torch.from_numpy(spread), full_matrices=False))
    kept = axes[: settings.axes]
    kept = kept * np.where(kept.sum(axis=1) < 0, -1.0, 1.0)[:, None]  # the sign of an axis is arbitrary
    loadings = kept.T * size[: settings.axes] / np.sqrt(len(log))
    means = mean_values(cells, settings.short_genes, settings.bins, settings.zero_share)
    level = (means - means.mean()) / max(float(means.std()), LEAST_DEVIATION)
    return np.column_stack((loadings, level / 2.0)).astype(np.float32)


def published_arguments(settings: ValueTrainingSettings) -> dict[str, Any]:
    """``args.json``: the shape and the input habits under the names of the published checkpoints."""
    return {
        "embsize": settings.width,
        "nheads": settings.heads,
        "nlayers": settings.layers,
        "d_hid": settings.feed_forward,
        "n_layers_cls": 3,
        "dropout": settings.hidden_dropout,
        "pad_token": "<pad>",
        "pad_value": int(PAD_VALUE),
        "mask_value": int(MASK_VALUE),
        "n_bins": settings.bins,
        "input_style": "binned",
        "input_emb_style": "continuous",
        "max_seq_len": settings.long_genes + 1,
        "trunc_by_sample": True,
        "mask_ratio": settings.mask_share,
        "training_tasks": "pcpt",
        "MVC": False,
        "USE_GENERATIVE_TRAINING": False,
        "fast_transformer": True,
        "no_cls": True,
        "no_cce": True,
        "batch_size": settings.batch,
        "lr": settings.learning_rate,
    }


def squared_errors(
    model: MaskedValueModel, shown: ValueSequences, hidden: NDArray[np.bool_], *, bfloat16: bool
) -> Tensor:
    """Squared error (bins) of every hidden value; the decoder runs on those positions only."""
    import torch

    genes, values = torch.from_numpy(shown.genes), torch.from_numpy(shown.shown(hidden))
    chosen = torch.from_numpy(hidden)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        states = model(genes, values)[chosen]
    # Bins up to 50 need more digits than bfloat16 has.
    return torch.square(model.decoder(states.float()) - torch.from_numpy(shown.values)[chosen])


class _Exam:
    """One fixed choice of genes, zeros and hidden values in held-out cells, nothing thinned."""

    def __init__(self, cells: VocabularyCells, genes: int, settings: ValueTrainingSettings) -> None:
        rng = np.random.default_rng([settings.seed, 2])
        self.truth = value_sequences(cells.counts, genes, settings.bins, settings.zero_share, rng)
        self.hidden = self.truth.hidden(settings.mask_share, rng)
        if not self.hidden.any():
            raise ValueError("no value of the held-out cells was hidden; they express too few genes")

    def loss(self, model: MaskedValueModel) -> float:
        """Mean squared error in float32."""
        import torch

        model.eval()
        parts = []
        with torch.inference_mode():
            for start in range(0, len(self.truth.genes), JUDGED_AT_ONCE):
                rows = slice(start, start + JUDGED_AT_ONCE)
                parts.append(squared_errors(model, self.truth.part(rows), self.hidden[rows], bfloat16=False))
        return float(torch.cat(parts).double().mean())
