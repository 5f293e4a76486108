"""Dictionaries of a Geneformer release: which token a measured gene gets, and which columns count as one gene.

What belongs here: finding and checking the dictionaries, names of genes, columns that stand for the same gene. What
does not: weights, or the rank-value formula (`rank_value`).

Published folders come with up to four dictionaries: tokens and medians by Ensembl id, a mapping from old ids, aliases
and symbols (upper case) to current ids, and a dictionary of symbols. The last two are read as one, the mapping first.
A release keyed by Ensembl id that brings neither is read with the symbols of GENCODE 44.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from interp_assets.cells.records import Unavailable
from interp_assets.models.families.vocabulary_columns import GeneColumns, gene_columns
from interp_assets.models.files.checkpoints import read_dictionary
from interp_assets.models.files.file_rules import ManifestError
from interp_assets.models.files.releases import Release

PAD, MASK, START, END = "<pad>", "<mask>", "<cls>", "<eos>"
SPECIALS = (PAD, MASK, START, END)
DICTIONARIES: Mapping[str, tuple[str, ...]] = {
    "tokens": ("token_dictionary",),
    "medians": ("gene_median_dictionary",),
    "mapping": ("ensembl_mapping_dict", "gene_mapping"),
    "names": ("gene_name_id_dict",),
}
GENE_TABLE = "gencode44_human"
_VERSIONED = re.compile(r"(ENS[A-Z]*\d+)\.\d+")
_OPEN_FRAME = re.compile(r"C(\d+|X|Y)orf\d+\w*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Dictionaries of a release, checked against each other.

    ``tokens`` and ``medians`` cover the same genes, ``specials`` the tokens without a gene. ``mapping`` maps upper-case
    names to keys (empty where names are keys), ``written`` are these names as the dictionaries write them; ``symbols``
    are the upper-case names among them that are a gene's current symbol. ``named_by`` says where names come from.
    """

    tokens: Mapping[str, int]
    medians: Mapping[str, float]
    specials: Mapping[str, int]
    mapping: Mapping[str, str]
    gene_key: Literal["symbol", "ensembl"]
    symbols: frozenset[str] = field(default_factory=frozenset)
    written: frozenset[str] = field(default_factory=frozenset)
    named_by: str = "the token dictionary"

    @property
    def size(self) -> int:
        """Rows the embedding matrix must have."""
        return len(self.tokens) + len(self.specials)

    def key(self, gene: str) -> str | None:
        """Dictionary key of a gene name, or None where the vocabulary does not know it.

        An Ensembl id is looked up without its version and in upper case; what is no key goes through the mapping, in
        upper case too. A name in mixed case has to stand there as it is written (open reading frames such as C1orf50
        aside): Gata1 is a mouse gene, and GATA1 must not answer for it.
        """
        name = self._bare(gene)
        if name in self.tokens:
            return name
        mixed = gene != gene.upper() and gene != gene.lower()
        if mixed and gene not in self.written and not _OPEN_FRAME.fullmatch(gene):
            return None
        return self.mapping.get(name.upper())

    def _bare(self, gene: str) -> str:
        if self.gene_key != "ensembl":
            return gene
        versioned = _VERSIONED.fullmatch(gene.upper())
        return versioned.group(1) if versioned else gene.upper()

    def columns(self, genes: NDArray[np.str_]) -> GeneColumns:
        """Columns of measured genes that stand for dictionary keys (see `vocabulary_columns.gene_columns`)."""
        return gene_columns(genes, self.key, self.rank)

    def rank(self, gene: str, key: str) -> int:
        """Which of several names of one gene stands for it: its key (0), its current symbol (1), another name (2)."""
        if self._bare(gene) == key:
            return 0
        return 1 if gene.upper() in self.symbols else 2


def read_vocabulary(release: Release) -> Vocabulary:
    """Dictionaries of a release, found among its listed files and checked against each other.

    Raises
    ------
    ManifestError
        If a dictionary is missing or ambiguous, token ids are not 0..n-1, a special token is missing, or a gene
        token has no positive median.
    """
    token_file, median_file = _dictionary_file(release, "tokens"), _dictionary_file(release, "medians")
    if token_file is None or median_file is None:
        raise ManifestError(
            release.folder,
            "lists no token dictionary or no median dictionary",
            "List token_dictionary.json and gene_median_dictionary.json in release.json.",
        )
    remedy = "Use the dictionaries the weights were trained with."
    entries = read_dictionary(token_file)
    if not all(isinstance(token, int) for token in entries.values()):
        raise ManifestError(token_file, "token ids are not whole numbers", remedy)
    ids = cast("dict[str, int]", entries)
    if sorted(ids.values()) != list(range(len(ids))):
        raise ManifestError(token_file, f"token ids are not 0..{len(ids) - 1}, each once", remedy)
    specials = {name: ids[name] for name in SPECIALS if name in ids}
    if PAD not in specials or MASK not in specials or (START in specials) != (END in specials):
        raise ManifestError(
            token_file, f"special tokens are {sorted(specials)}; <pad>, <mask> and both or none of <cls>, <eos>", remedy
        )
    tokens = {gene: token for gene, token in ids.items() if gene not in specials}
    medians = _medians(median_file, tokens, remedy)
    gene_key = release.gene_key
    if gene_key not in {"symbol", "ensembl"}:
        raise ManifestError(release.folder / "release.json", f"gene_key is {gene_key!r}", "Use `symbol` or `ensembl`.")
    mapping, symbols, written, named_by = _names(release, tokens)
    return Vocabulary(
        tokens=tokens,
        medians=medians,
        specials=specials,
        mapping=mapping,
        gene_key=cast("Literal['symbol', 'ensembl']", gene_key),
        symbols=symbols,
        written=written,
        named_by=named_by,
    )


def _dictionary_file(release: Release, role: str) -> Path | None:
    named = release.facts.get("dictionaries")
    if isinstance(named, dict) and role in named:
        return release.file(str(named[role]))
    found = [
        file.path
        for file in release.files
        if Path(file.path).name.startswith(DICTIONARIES[role])
        and Path(file.path).suffix in {".json", ".pkl", ".pickle"}
    ]
    if len(found) > 1:
        raise ManifestError(
            release.folder, f"has several {role} dictionaries: {', '.join(found)}", "Name one in `dictionaries`."
        )
    return release.file(found[0]) if found else None


def _medians(path: Path, tokens: Mapping[str, int], remedy: str) -> dict[str, float]:
    stated = read_dictionary(path)
    lacking = [gene for gene in tokens if gene not in stated]
    if lacking:
        raise ManifestError(path, f"has no median for {len(lacking)} tokens such as {lacking[0]}", remedy)
    medians = {gene: stated[gene] for gene in tokens}
    wrong = [g for g, m in medians.items() if isinstance(m, str) or not np.isfinite(m) or m <= 0]
    if wrong:
        raise ManifestError(path, f"median of {wrong[0]} is not a positive number", remedy)
    return {gene: float(median) for gene, median in medians.items()}


def _names(release: Release, tokens: Mapping[str, int]) -> tuple[dict[str, str], frozenset[str], frozenset[str], str]:
    """Upper-case names to keys in ``tokens``, current symbols among them, names as written, where they come from."""
    files = {role: _dictionary_file(release, role) for role in ("names", "mapping")}
    given = {role: _name_dictionary(path, tokens) for role, path in files.items() if path is not None}
    told = " and ".join(sorted(path.name for path in files.values() if path is not None)) or "the token dictionary"
    named = any(not name.upper().startswith("ENSG") for names in given.values() for name in names)
    if not named and release.gene_key == "ensembl" and any(key.startswith("ENSG") for key in tokens):
        table = gene_table_symbols(tokens)
        if isinstance(table, Unavailable):
            told = f"{told}; gene table {GENE_TABLE} is not available (`interp datasets check` says why)"
        else:
            given = {"names": table, **given}
            told = f"gene table {GENE_TABLE}: the release brings no dictionary of symbols"
    mapping = {name.upper(): key for names in given.values() for name, key in names.items()}
    symbols = frozenset(name.upper() for name in given.get("names", {}))
    return mapping, symbols, frozenset(name for names in given.values() for name in names), told


def _name_dictionary(path: Path, tokens: Mapping[str, int]) -> dict[str, str]:
    """Names of a dictionary, as written, whose key has a token."""
    stated = read_dictionary(path)
    if not all(isinstance(value, str) for value in stated.values()):
        raise ManifestError(path, "maps names to something other than names", "Use a name-to-id dictionary.")
    return {name: str(key) for name, key in stated.items() if key in tokens}


def gene_table_symbols(tokens: Mapping[str, int]) -> dict[str, str] | Unavailable:
    """Symbols of GENCODE 44 to the Ensembl ids among ``tokens``; or why the table cannot be had.

    Of several ids with one symbol the lowest counts.
    """
    from interp_assets.cells.datasets import load_datasets
    from interp_assets.cells.gene_names import read_gene_names
    from interp_assets.cells.sources import locate, source_context
    from interp_assets.settings import Folders

    folders = Folders.from_environment()
    spec = load_datasets(folders.config)[GENE_TABLE]
    table = locate(spec, source_context(folders.store, wheels=folders.wheels))
    if isinstance(table, Unavailable):
        return table
    symbol_of = read_gene_names(table.path, GENE_TABLE).symbol_of
    found: dict[str, str] = {}
    for identifier in sorted(set(symbol_of) & set(tokens)):
        found.setdefault(symbol_of[identifier], identifier)
    return found
