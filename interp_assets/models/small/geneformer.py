"""Small Geneformer-layout models: BERT over ranked genes, trained to name masked genes.

What belongs here: the model, its loss, its held-out exam and its files. What does not: the optimisation loop
(`training`) and how cells are put in order and masked (`batches`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from interp_assets.models.families.rank_value import fit_medians
from interp_assets.models.files.written_folders import json_bytes
from interp_assets.models.small.batches import (
    FIRST_GENE,
    IGNORED,
    MASK,
    PAD,
    SPECIAL_TOKENS,
    EncodedCells,
    baseline_losses,
    mask_genes,
    sequences,
)
from interp_assets.models.small.cells import DonorCells
from interp_assets.models.small.training import HeldOutLoss, TrainingSettings, measured_columns

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import BertForMaskedLM


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedGenes:
    """Naming masked genes of cells written as genes in falling order of value (a `training.Task`)."""

    family: ClassVar[str] = "geneformer"
    loss_unit: ClassVar[str] = "nats per masked position, every masked gene shown as <mask>"
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "scipy", "torch", "transformers", "safetensors")

    training: EncodedCells
    held_out: EncodedCells
    settings: TrainingSettings

    @classmethod
    def of_donors(
        cls, training: DonorCells, held_out: DonorCells, genes: list[str], settings: TrainingSettings
    ) -> Self:
        """The task on the vocabulary ``genes``, with medians of the training donors.

        Raises
        ------
        ValueError
            If a gene is not measured, or has no count in the training cells.
        """
        columns = measured_columns(training, genes)
        totals = np.asarray(training.counts.sum(axis=1), dtype=np.float64).ravel()
        medians = fit_medians(training.counts, totals, columns)
        return cls(
            training=EncodedCells(counts=training.counts[:, columns], medians=medians),
            held_out=EncodedCells(counts=held_out.counts[:, columns], medians=medians),
            settings=settings,
        )

    @property
    def training_cells(self) -> int:
        """Cells of the training donors."""
        return int(self.training.counts.shape[0])

    @property
    def vocabulary(self) -> int:
        """Tokens, special tokens included."""
        return FIRST_GENE + int(self.training.counts.shape[1])

    def build(self) -> BertForMaskedLM:
        """A BERT masked-language model with fresh weights, Geneformer's layout at the settings' size."""
        return build_model(self.settings, self.vocabulary)

    def loss(self, model: BertForMaskedLM, rows: NDArray[np.int64], step: int, rng: np.random.Generator) -> Tensor:
        """Mean cross-entropy at masked positions of the thinned cells."""
        ids = sequences(
            self.training.thinned_tokens(rows, self.settings.at(step)[1], rng, self.settings.thinning_floor)
        )
        inputs, targets = mask_genes(ids, self.settings.mask_share, self.vocabulary, rng)
        return masked_loss(model, inputs, targets, bfloat16=self.settings.bfloat16).mean()

    def quiz(self, genes: int) -> Callable[[BertForMaskedLM], float]:
        """Held-out loss on a fixed part of the held-out cells."""
        return _Exam(self.held_out.spread(self.settings.held_out_curve_cells), genes, self.settings).loss

    def judge(self, model: BertForMaskedLM) -> HeldOutLoss:
        """Cross-entropy of the model and of context-free baselines at the same masked positions."""
        exam = _Exam(self.held_out, self.settings.long_genes, self.settings)
        known = self.training.tokens(np.arange(self.training_cells), self.settings.long_genes)
        return HeldOutLoss(
            model=exam.loss(model),
            baselines=baseline_losses(known, exam.truth, exam.chosen, self.vocabulary),
            masked_positions=int(exam.chosen.sum()),
            cells=len(exam.truth),
        )

    def write(self, model: BertForMaskedLM, genes: list[str], folder: Path) -> None:
        """Weights and configuration as transformers saves them, and both dictionaries as JSON."""
        model.save_pretrained(folder)
        tokens = SPECIAL_TOKENS | {gene: FIRST_GENE + i for i, gene in enumerate(genes)}
        medians = dict(zip(genes, self.training.medians.tolist(), strict=True))
        (folder / "token_dictionary.json").write_bytes(json_bytes(tokens))
        (folder / "gene_median_dictionary.json").write_bytes(json_bytes(medians))


def build_model(settings: TrainingSettings, vocabulary: int) -> BertForMaskedLM:
    """A BERT masked-language model with fresh weights, Geneformer's layout at the settings' size.

    Positions are the longest sequence: ``long_genes`` with ``<cls>`` and ``<eos>``.
    """
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
        max_position_embeddings=settings.long_genes + 2,
        layer_norm_eps=1e-12,
        initializer_range=0.02,
        type_vocab_size=2,
        pad_token_id=PAD,
    )
    # Eager is the faster attention here: with bfloat16 it halves the step of the fused CPU kernel.
    return BertForMaskedLM._from_config(config, attn_implementation="eager")


def masked_loss(
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
                masked_loss(model, inputs[a : a + 16], targets[a : a + 16], bfloat16=False)
                for a in range(0, len(inputs), 16)
            ]
        return float(torch.cat(parts).double().mean())
