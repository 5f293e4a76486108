"""How a model is asked what it expects of a gene it cannot see.

What belongs here: what is put in the place of a hidden gene, and which number is read there. What does not: which genes
are hidden or deleted (`deletions`, `mediation`), or the heads themselves.

Two kinds of model can be asked. One predicts which gene stands behind the mask token: the number read is the logit of
the gene. The other is told genes and their values (scGPT): the gene stays, its value is hidden, and the number read is
the value the model predicts for it, in bins. Both rise where the model expects more of the gene.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from interp_assets.models.interventions import InterventionModel, Output, ValueModel

if TYPE_CHECKING:
    import torch

Int = NDArray[np.int64]
VALUE_ROW: Final = 0  # a head that predicts values has one row, whatever the gene


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenGenes:
    """What one model is asked.

    ``hide`` gives what stands in the place of some tokens (n) when they are hidden; ``row`` the row of ``output`` that
    is read for a gene. ``output`` is None for a release without a head: hidden states can be compared all the same.
    """

    predicts: Literal["token", "value"]
    hide: Callable[[Int], Int]
    row: Callable[[str], int]
    output: Output | None

    @property
    def read_out(self) -> str:
        """Name of what `contrast` reads."""
        return "logit of the gene, centred over the vocabulary" if self.predicts == "token" else "predicted bin"

    @property
    def absent(self) -> str:
        """What stands for a gene that is taken away without moving the others."""
        return "mask token in its place" if self.predicts == "token" else "its value hidden"

    def contrast(self, row: int) -> tuple[torch.Tensor, float] | None:
        """Direction (D, float64) and shift that read one gene from what the output is applied to; None without a head.

        For tokens the logit less the mean logit of the vocabulary, for values the predicted value.
        """
        if self.output is None:
            return None
        weight, bias = self.output.weight.double(), self.output.bias.double()
        if self.predicts == "value":
            return weight[row], float(bias[row])
        return weight[row] - weight.mean(dim=0), float(bias[row] - bias.mean())


def hidden_genes(model: InterventionModel) -> HiddenGenes | None:
    """What a model is asked; None where it can hide nothing."""
    if isinstance(model, ValueModel):
        return HiddenGenes(
            predicts="value", hide=model.hidden_values, row=lambda gene: VALUE_ROW, output=model.value_output()
        )
    mask = model.describe().mask
    if mask is None:
        return None
    return HiddenGenes(
        predicts="token",
        hide=lambda tokens: np.full_like(tokens, mask),
        row=lambda gene: model.gene_tokens([gene])[0],
        output=model.output(),
    )
