"""Settings and vocabulary of a folder in scGPT layout, and how a gene and its binned value become one token.

What belongs here: ``args.json`` and ``vocab.json``, checked. What does not: weights (`scgpt_weights`), encoding cells
and running the model (`scgpt`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from interp_assets.models.files.checkpoints import read_dictionary, read_json
from interp_assets.models.files.file_rules import ManifestError

START, END = "<cls>", "<eoc>"
PAD_CODE, MASK_CODE, FIRST_BIN = 0, 1, 2
REMEDY: Final = "Use the args.json and vocab.json the weights were trained with."


@dataclass(frozen=True, slots=True, kw_only=True)
class ScgptSettings:
    """What ``args.json`` says of the encoder; names as there, ``heads`` is ``nheads`` or ``nhead``.

    ``bins`` counts the bin of zeros; ``max_length`` counts ``<cls>``.
    """

    width: int
    heads: int
    layers: int
    inner: int
    bins: int
    max_length: int
    pad_token: str
    pad_value: float
    mask_value: float

    @property
    def codes(self) -> int:
        """Values a token can have: padding (which ``<cls>`` shares), hidden, and the bins."""
        return FIRST_BIN + self.bins

    @property
    def values(self) -> NDArray[np.float32]:
        """Value of each code, as the value encoder is given it."""
        return np.array([self.pad_value, self.mask_value, *range(self.bins)], dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScgptVocabulary:
    """Entries of ``vocab.json`` with the special tokens; ``appended`` are those the file lacks.

    A token is ``entry * codes + code``, where code is `PAD_CODE`, `MASK_CODE` or `FIRST_BIN` + bin.
    """

    entries: Mapping[str, int]
    codes: int
    pad_token: str
    appended: tuple[str, ...] = ()

    @property
    def specials(self) -> tuple[str, ...]:
        """Tokens that stand for no gene."""
        return (self.pad_token, START, END)

    @property
    def padding(self) -> int:
        """Token that fills a batch."""
        return self.entries[self.pad_token] * self.codes + PAD_CODE

    @property
    def start(self) -> int:
        """Token in front of every cell; it carries the value of padding."""
        return self.entries[START] * self.codes + PAD_CODE

    def key(self, gene: str) -> str | None:
        """The gene name if it has an entry, else None."""
        return gene if gene in self.entries and gene not in self.specials else None

    def hidden(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """The same genes with their values hidden."""
        return tokens - tokens % self.codes + MASK_CODE


def read_settings(path: Path) -> ScgptSettings:
    """Settings of the encoder from ``args.json``.

    Raises
    ------
    ManifestError
        If a number is missing or not positive, or the settings ask for another kind of model: values that are not
        binned or not embedded as numbers, or norms in front of the layers.
    """
    content = read_json(path, limit=2**20)
    if not isinstance(content, dict):
        raise ManifestError(path, "is not an object", REMEDY)
    for key, known in (("input_style", "binned"), ("input_emb_style", "continuous")):
        if content.get(key, known) != known:
            raise ManifestError(path, f"{key} is {content[key]!r}; only {known!r} can be read", REMEDY)
    if content.get("pre_norm") or content.get("norm_scheme", "post") != "post":
        raise ManifestError(
            path,
            "asks for norms in front of the layers (pre_norm)",
            "Use a post-norm checkpoint: published code does not agree with itself on the other kind.",
        )
    heads = "nheads" if "nheads" in content else "nhead"
    width, layers = _count(path, content, "embsize"), _count(path, content, "nlayers")
    return ScgptSettings(
        width=width,
        heads=_count(path, content, heads),
        layers=layers,
        inner=_count(path, content, "d_hid"),
        bins=_count(path, content, "n_bins", 51, least=3),
        max_length=_count(path, content, "max_seq_len", 1200, least=3),
        pad_token=str(content.get("pad_token", "<pad>")),
        pad_value=_number(path, content, "pad_value", -2.0),
        mask_value=_number(path, content, "mask_value", -1.0),
    )


def _count(path: Path, content: Mapping[str, Any], key: str, default: int | None = None, least: int = 1) -> int:
    found = content.get(key, default)
    if not isinstance(found, int) or isinstance(found, bool) or found < least:
        raise ManifestError(path, f"{key} is {found!r}; a whole number of at least {least} is needed", REMEDY)
    return found


def _number(path: Path, content: Mapping[str, Any], key: str, default: float) -> float:
    found = content.get(key, default)
    if not isinstance(found, int | float) or isinstance(found, bool) or not np.isfinite(found):
        raise ManifestError(path, f"{key} is {found!r}; a number is needed", REMEDY)
    return float(found)


def read_vocabulary(path: Path, settings: ScgptSettings) -> ScgptVocabulary:
    """Vocabulary of ``vocab.json``; special tokens it lacks are appended: padding, ``<cls>``, ``<eoc>``, in this order.

    Raises
    ------
    ManifestError
        If entries are not the whole numbers 0..n-1, each once.
    """
    stated = read_dictionary(path)
    if not all(isinstance(entry, int) for entry in stated.values()):
        raise ManifestError(path, "token ids are not whole numbers", REMEDY)
    entries = {name: int(entry) for name, entry in stated.items()}
    if sorted(entries.values()) != list(range(len(entries))):
        raise ManifestError(path, f"token ids are not 0..{len(entries) - 1}, each once", REMEDY)
    appended = tuple(token for token in (settings.pad_token, START, END) if token not in entries)
    for token in appended:
        entries[token] = len(entries)
    return ScgptVocabulary(entries=entries, codes=settings.codes, pad_token=settings.pad_token, appended=appended)
