"""Genes that a published tokeniser knows."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

from interp_assets.cells.dataset_records import DatasetSpec, VocabularyFormat
from interp_assets.cells.gene_names import GeneNames, symbols_of
from interp_assets.cells.integrity import DataFileError
from interp_assets.cells.text_tables import text_table


def read_vocabulary(spec: DatasetSpec, path: Path, names: GeneNames | None = None) -> tuple[str, ...]:
    """Distinct symbols a declared tokeniser knows, sorted; special tokens and blanks left out.

    Ensembl ids become symbols by ``names``; an id the table does not know keeps its own name.

    Raises
    ------
    DataFileError
        If the file is unreadable, lacks the declared column, or holds no gene; if ids need ``names`` and get none.
    """
    form = spec.vocabulary
    if form is None:
        raise DataFileError(f"{spec.file}: key `kind`: dataset {spec.id!r} is {spec.kind}, vocabulary is needed.")
    listed = [name for name in _listed(form, path, spec) if name and name not in form.special]
    if form.gene_id == "ensembl":
        try:
            listed = symbols_of(listed, form.gene_id, names)[0].tolist()
        except ValueError as error:
            raise DataFileError(f"{path} (dataset {spec.id}, key `vocabulary.gene_table`): {error}") from error
    if not listed:
        raise DataFileError(f"{path}: the vocabulary names no gene (dataset {spec.id}). Check `vocabulary`.")
    return tuple(sorted(set(listed)))


def _listed(form: VocabularyFormat, path: Path, spec: DatasetSpec) -> list[str]:
    try:
        if form.format == "tsv":
            table = text_table(path)
        else:
            opened = gzip.open if path.suffix == ".gz" else open
            with opened(path, "rt", encoding="utf-8") as text:
                tokens = json.load(text)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataFileError(
            f"{path}: not a readable {form.format} vocabulary ({error}). Replace it (dataset {spec.id})."
        ) from error
    if form.format == "json":
        if not isinstance(tokens, dict):
            raise DataFileError(f"{path}: a JSON vocabulary maps genes to numbers, found {type(tokens).__name__}.")
        return [str(name) for name in tokens]
    if form.genes not in table.columns:
        columns = ", ".join(table.columns)
        raise DataFileError(
            f"{path}: no column {form.genes!r} (key `vocabulary.genes` of {spec.file}); columns: {columns}."
        )
    return table[form.genes].tolist()
