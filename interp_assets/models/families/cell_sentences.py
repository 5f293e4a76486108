"""Cells as sentences: gene names by falling expression behind a prompt, and which token stands for which gene.

What belongs here: counts to gene order to text, and tokens back to genes by character. What does not: running a model
(`causal`).

A sentence is the prompt and the names of the expressed genes, one space between two names. It is tokenised once, as a
whole. A token belongs to the gene whose characters it overlaps; the space before a name belongs to that name; tokens
of the prompt belong to none. Text behind the genes is left out: a model that looks back cannot see it from a gene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from interp_assets.models.adapter import EncodedCells
from interp_assets.models.families.rank_value import expressed, rank_value_tokens
from interp_assets.models.files.checkpoints import read_json
from interp_assets.models.files.file_rules import ManifestError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

# Neutral words, not those any checkpoint was trained with: a release states its own under `prompt`.
DEFAULT_PROMPT: Final = "Cell sentence: "
_AT_ONCE: Final = 64
_NO_GENE: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceRules:
    """How a cell becomes a sentence: the text before it, tokens at most, genes at most (None: as many as fit)."""

    prompt: str
    max_tokens: int
    max_genes: int | None = None


def sentence_key(gene: str) -> str | None:
    """The word a gene is written as: its name, or None for a name with white space or none.

    >>> sentence_key("CD3E"), sentence_key("HLA-A B"), sentence_key("")
    ('CD3E', None, None)
    """
    return gene if gene and not any(sign.isspace() for sign in gene) else None


def read_tokenizer(path: Path, vocabulary: int) -> Any:
    """Tokeniser of a ``tokenizer.json`` (`tokenizers.Tokenizer`), its own truncation and padding switched off.

    Raises
    ------
    ManifestError
        If the file is no such tokeniser, or knows more tokens than the model has embeddings (``vocabulary``).
    """
    from tokenizers import Tokenizer

    read_json(path)  # size, links and JSON before the parser of the library sees it
    remedy = "Use the tokenizer.json the weights were trained with."
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise ManifestError(path, f"is not a fast tokeniser: {str(error)[:200]}", remedy) from error
    highest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if highest >= vocabulary:
        raise ManifestError(path, f"has token {highest}, but config.json states vocab_size {vocabulary}", remedy)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def sentence_tokens(
    counts: csr_matrix, columns: NDArray[np.int32], names: Sequence[str], tokenizer: Any, rules: SentenceRules
) -> EncodedCells:
    """Token sequences of cells, each cut at a whole gene.

    Genes stand by falling count; equal counts keep the order of ``columns``, which are those of ``names``. ``left_out``
    counts expressed genes behind the cut.

    Raises
    ------
    ValueError
        If the prompt leaves no room, or a token spans two genes.
    """
    most = min(rules.max_tokens, rules.max_genes or rules.max_tokens)  # a gene takes at least one token
    place = np.arange(columns.size, dtype=np.int32)
    order, starts = rank_value_tokens(counts, columns, place, np.ones(columns.size), most)
    tokens: list[NDArray[np.int32]] = []
    owners: list[NDArray[np.int32]] = []
    shown: list[int] = []
    for first in range(0, starts.size - 1, _AT_ONCE):
        cells = [
            order[starts[cell] : starts[cell + 1]] for cell in range(first, min(first + _AT_ONCE, starts.size - 1))
        ]
        texts = [rules.prompt + " ".join(names[gene] for gene in genes) for genes in cells]
        for genes, found in zip(cells, tokenizer.encode_batch(texts), strict=True):
            lengths = np.array([len(names[gene]) for gene in genes], dtype=np.int64)
            owner = gene_of_tokens(np.array(found.offsets, dtype=np.int64).reshape(-1, 2), rules.prompt, lengths)
            kept = _whole_genes(owner, rules.max_tokens)
            owner = owner[:kept]
            tokens.append(np.array(found.ids[:kept], dtype=np.int32))
            owners.append(np.where(owner >= 0, columns[genes][owner] if genes.size else _NO_GENE, _NO_GENE))
            shown.append(int(np.unique(owner[owner >= 0]).size))
    return EncodedCells(
        tokens=np.concatenate(tokens).astype(np.int32),
        column=np.concatenate(owners).astype(np.int32),
        offsets=np.cumsum([0, *(part.size for part in tokens)], dtype=np.int64),
        left_out=expressed(counts, columns) - np.array(shown, dtype=np.int64),
        causal=True,
        several=True,
    )


def gene_of_tokens(spans: NDArray[np.int64], prompt: str, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of the gene that each token stands for, or -1, by the characters it covers (``spans``: T x 2).

    ``lengths`` are those of the names behind the prompt, one space between two. A token that covers no character (a
    start mark) stands for none.

    >>> spans = np.array([[0, 3], [3, 5], [5, 6], [6, 10]])  # "Go: AB CDE"
    >>> gene_of_tokens(spans, "Go: ", np.array([2, 3])).tolist()
    [-1, 0, 0, 1]

    Raises
    ------
    ValueError
        If a token spans two genes.
    """
    start = len(prompt) + np.cumsum(lengths + 1) - (lengths + 1)
    start[1:] -= 1  # the space before a name is its own
    if start.size and prompt.endswith(" "):
        start[0] -= 1
    first, last = (np.searchsorted(start, at, side="right") - 1 for at in (spans[:, 0], spans[:, 1] - 1))
    empty = spans[:, 1] <= spans[:, 0]
    across = ~empty & (last > np.maximum(first, 0))
    if across.any():
        at = int(np.flatnonzero(across)[0])
        raise ValueError(
            f"token {at} covers characters {spans[at, 0]} to {spans[at, 1]} of a cell sentence, which belong to two "
            "genes; cell sentences need a tokeniser that splits at spaces"
        )
    return np.where(empty, _NO_GENE, last)


def _whole_genes(owner: NDArray[np.int64], most: int) -> int:
    """Tokens kept of a sentence: at most ``most``, no gene cut in two.

    Raises
    ------
    ValueError
        If nothing but prompt fits.
    """
    if owner.size <= most:
        return int(owner.size)
    cut = owner[most]
    kept = int(np.flatnonzero(owner == cut)[0]) if cut >= 0 else most
    if not (owner[:kept] >= 0).any():
        raise ValueError(
            f"the prompt takes {int((owner == _NO_GENE).sum())} of {most} tokens and leaves no room for a gene; "
            "shorten `prompt` in release.json, or raise `max_length`"
        )
    return kept
