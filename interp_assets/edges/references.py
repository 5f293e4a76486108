"""Reference networks inside a gene list.

A reference is the set of ordered pairs (regulator, target) it names among the given genes, self pairs
removed. Its **universe** for recovery is every ordered pair of a regulator and another gene of the list:
pairs it does not name are negatives only for regulators it could have named, so ``regulators`` holds the
genes of the list that appear as regulators anywhere in the file (for undirected references: that appear at
all). Undirected references hold every pair in both orders and must be scored with a symmetrised edge (paper
section 2.3).
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.cells.dataset_records import DatasetSpec, NetworkFormat
from interp_assets.cells.records import ScreenLabels
from interp_assets.cells.text_tables import plain_names, text_table
from interp_assets.edges.records import Reference

PLANTED = "planted"
GMT_SEPARATOR = "\t"


class NetworkError(ValueError):
    """A reference network cannot be read; the message names the file, the key and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A file with what is declared of it; equal only where declaration and content are equal."""

    spec: DatasetSpec = field(compare=False)
    path: Path
    declared: str
    sha256: str


def _file(spec: DatasetSpec, path: Path) -> _File:
    digest = ""  # of a file that cannot be opened: whoever reads it says so, naming the dataset
    if path.is_file():
        with path.open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return _File(spec=spec, path=path, declared=spec.fingerprint(), sha256=digest)


def read_network(spec: DatasetSpec, path: Path) -> pd.DataFrame:
    """Distinct pairs of a network file as columns tf, target, sorted; ``attrs`` says what was dropped.

    Self pairs and repeats are dropped, declared thresholds, levels and relation applied, then regulators with
    fewer than ``network.min_targets`` distinct targets removed. An undirected network keeps one row a pair, names
    in order. Where the network states directions, a column ``direction`` says what the regulator does: 1
    activation, -1 repression, 2 both are listed, 0 not known; a known direction beats an unknown one.

    Raises
    ------
    NetworkError
        If the file is unreadable, lacks a declared column, or holds no pair.
    """
    _network_form(spec, "network")
    return _pairs(_file(spec, path)).copy()


# Every dataset of a study is held against the same few networks: each is read once a process, not once a dataset.
@lru_cache(maxsize=8)
def _pairs(file: _File) -> pd.DataFrame:
    spec, path = file.spec, file.path
    form = _network_form(spec, "network")
    raw = _read_rows(spec, form, path)
    facts: dict[str, Any] = {"rows_read": len(raw)}
    for column, minimum in form.thresholds.items():
        raw = raw[_numbers(raw, column, path, spec) >= minimum]
    for column, allowed in form.levels.items():
        raw = raw[_column(raw, column, path, spec, f"levels.{column}").astype(str).isin(allowed)]
    pairs = pd.DataFrame(
        {
            "tf": _names(raw, form.source, path, spec, "source"),
            "target": _names(raw, form.target, path, spec, "target"),
        },
        index=raw.index,
    )
    if form.direction:
        pairs["direction"] = _directions(raw, form, path, spec)
    facts["rows_kept"] = len(pairs)
    if not form.directed:
        ordered = np.sort(pairs.to_numpy(dtype=object), axis=1)
        pairs = pd.DataFrame(ordered, columns=["tf", "target"])
    facts["self_pairs_dropped"] = int((pairs["tf"] == pairs["target"]).sum())
    pairs = pairs[(pairs["tf"] != pairs["target"]) & (pairs["tf"] != "") & (pairs["target"] != "")]
    facts["repeats_dropped"] = int(pairs.duplicated(["tf", "target"]).sum())
    pairs = _merged(pairs) if form.direction else pairs.drop_duplicates()
    if form.min_targets > 1:
        degree = pairs.groupby("tf")["target"].transform("size")
        facts["regulators_dropped"] = int(pairs.loc[degree < form.min_targets, "tf"].nunique())
        pairs = pairs[degree >= form.min_targets]
        facts["regulator_rule"] = f"at least {form.min_targets} distinct targets in the whole file"
    if pairs.empty:
        raise NetworkError(f"{path}: no pair is left (dataset {spec.id}, key `network` of {spec.file}). Check it.")
    pairs = pairs.sort_values(["tf", "target"], kind="stable").reset_index(drop=True)
    pairs.attrs = facts | {"pairs": len(pairs), "regulators": int(pairs["tf"].nunique())}
    return pairs


def _directions(raw: pd.DataFrame, form: NetworkFormat, path: Path, spec: DatasetSpec) -> NDArray[np.int8]:
    """Direction of every row: 1, -1, or 0 for any word that the declaration does not list.

    Numbers are compared as numbers, so that 1, 1.0 and "1" are one word.
    """
    words = _column(raw, form.direction, path, spec, "direction")
    numbers = pd.to_numeric(words, errors="coerce")
    text = words.astype(str).where(numbers.isna(), numbers.map("{:g}".format))
    found = np.zeros(len(raw), dtype=np.int8)
    found[text.isin(form.activation).to_numpy(dtype=bool)] = 1
    found[text.isin(form.repression).to_numpy(dtype=bool)] = -1
    return found


def _merged(pairs: pd.DataFrame) -> pd.DataFrame:
    """One row a pair; activation and repression both listed give 2, a known direction beats an unknown one."""
    sides = pairs.assign(up=pairs["direction"] == 1, down=pairs["direction"] == -1)
    merged = sides.groupby(["tf", "target"], sort=True, as_index=False)[["up", "down"]].any()
    both = merged["up"] & merged["down"]
    merged["direction"] = np.where(both, 2, merged["up"].astype(int) - merged["down"].astype(int)).astype(np.int8)
    return merged[["tf", "target", "direction"]]


def network_reference(
    spec: DatasetSpec, path: Path, genes: NDArray[np.str_], regulators: Collection[str] | None = None
) -> Reference:
    """Reference of a declared network inside a gene list, named by the dataset's id.

    `regulators` (such as a list of transcription factors, see `read_gene_list`) keeps the pairs whose source it
    holds; what it dropped is in ``facts``. Never pass a list only where it happens to be available: results would
    depend on the machine.
    """
    pairs = read_network(spec, path)
    form, facts = _network_form(spec, "network"), dict(pairs.attrs)
    if regulators is not None:
        allowed = pairs["tf"].isin(list(regulators))
        facts |= {"pairs_of_other_regulators": int((~allowed).sum())}
        pairs = pairs[allowed]
    return _reference(spec.id, pairs, genes, directed=form.directed, facts=facts)


def read_gene_list(spec: DatasetSpec, path: Path) -> tuple[str, ...]:
    """Distinct symbols of a one-column list without header, sorted; gzip or plain.

    Raises
    ------
    NetworkError
        If the file is unreadable or empty.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as lines:
            names = tuple(sorted({line.strip() for line in lines} - {""}))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise NetworkError(f"{path}: not a readable list ({error}). Replace it (dataset {spec.id}).") from error
    if not names:
        raise NetworkError(f"{path}: the list is empty (dataset {spec.id}). Give one symbol a line.")
    return names


def gene_set_reference(spec: DatasetSpec, path: Path, genes: NDArray[np.str_]) -> Reference:
    """Co-membership reference: two genes are a pair when some set of the file holds both. Undirected.

    Of a file of several collections, ``network.set_prefix`` keeps the sets whose name begins so. Sets larger than
    ``network.max_set_size`` (0: no limit) are skipped and counted, before the gene list is applied.

    Raises
    ------
    NetworkError
        If the file is unreadable, lacks a declared column, or holds no set.
    """
    _network_form(spec, "gene_sets")
    kept, read = _gene_set_members(_file(spec, path))
    position = {name: index for index, name in enumerate(genes.tolist())}
    together = np.zeros((genes.size, genes.size), dtype=bool)
    for names in kept:
        inside = np.array(sorted(position[name] for name in names if name in position), dtype=np.int64)
        together[np.ix_(inside, inside)] = True
    np.fill_diagonal(together, val=False)
    source, target = np.nonzero(together)
    listed = frozenset().union(*kept)
    return Reference(
        name=spec.id,
        genes=genes,
        source=source.astype(np.int32),
        target=target.astype(np.int32),
        directed=False,
        regulators=np.array(sorted(position[name] for name in listed if name in position), dtype=np.int32),
        facts={
            "sets_read": read,
            "sets_too_large": read - len(kept),
            "pairs_inside": source.size,
        },
    )


@lru_cache(maxsize=8)
def _gene_set_members(file: _File) -> tuple[tuple[frozenset[str], ...], int]:
    """Members of every set that is kept, and how many sets of the collection the file holds."""
    spec, path = file.spec, file.path
    form = _network_form(spec, "gene_sets")
    raw = _read_rows(spec, form, path)
    if form.set_prefix:
        of_collection = _column(raw, form.set_name, path, spec, "set_name").astype(str).str.startswith(form.set_prefix)
        if not of_collection.any():
            raise NetworkError(
                f"{path}: no gene set is called {form.set_prefix}… (dataset {spec.id}). Correct `network.set_prefix`."
            )
        raw = raw[of_collection]
    separator = GMT_SEPARATOR if form.format == "gmt" else form.separator
    members = [
        frozenset(filter(None, text.split(separator)))
        for text in _column(raw, form.members, path, spec, "members").astype(str)
    ]
    kept = tuple(names for names in members if not form.max_set_size or len(names) <= form.max_set_size)
    if not kept:
        raise NetworkError(f"{path}: no gene set is left (dataset {spec.id}). Raise `network.max_set_size`.")
    return kept, len(members)


def planted_reference(labels: ScreenLabels, genes: NDArray[np.str_] | None = None) -> Reference:
    """The planted network of a screen: pairs with a non-zero weight, whether or not they were called.

    Regulators are the screen's perturbed genes.

    Raises
    ------
    ValueError
        If the screen is not planted.
    """
    if labels.planted_weight is None:
        raise ValueError(f"dataset {labels.dataset!r} carries no planted network; use a declared reference.")
    row, column = np.nonzero(labels.planted_weight)
    pairs = pd.DataFrame({"tf": labels.perturbations[row], "target": labels.genes[column]}, dtype=object)
    pairs = pairs[pairs["tf"] != pairs["target"]]
    chosen = labels.genes if genes is None else genes
    return _reference(
        PLANTED,
        pairs,
        chosen,
        directed=True,
        facts={"pairs": len(pairs), "regulators": int(labels.perturbations.size)},
        regulators=labels.perturbations,
    )


def signed_reference(name: str, pairs: pd.DataFrame, genes: NDArray[np.str_]) -> Reference:
    """A directed reference of pairs whose directions are known (columns tf, target, direction) inside a gene list."""
    facts = {"pairs": len(pairs), "regulators": int(pairs["tf"].nunique())}
    return _reference(name, pairs, genes, directed=True, facts=facts)


def restrict_reference(reference: Reference, genes: NDArray[np.str_]) -> Reference:
    """The same reference inside fewer genes; pairs and regulators outside are dropped and counted."""
    if np.array_equal(reference.genes, genes):
        return reference
    pairs = pd.DataFrame(
        {"tf": reference.genes[reference.source], "target": reference.genes[reference.target]}, dtype=object
    )
    if reference.direction is not None:
        pairs["direction"] = reference.direction
    inside = _index_pairs(pairs, genes)
    regulators = pd.Index(genes.astype(object)).get_indexer(reference.genes[reference.regulators].astype(object))
    return Reference(
        name=reference.name,
        genes=genes,
        source=inside[0],
        target=inside[1],
        direction=inside[2],
        directed=reference.directed,
        regulators=np.sort(regulators[regulators >= 0]).astype(np.int32),
        facts=reference.facts | {"pairs_inside": int(inside[0].size)},
    )


def _reference(
    name: str,
    pairs: pd.DataFrame,
    genes: NDArray[np.str_],
    *,
    directed: bool,
    facts: dict[str, Any],
    regulators: NDArray[np.str_] | None = None,
) -> Reference:
    if not directed:
        flipped = pairs.rename(columns={"tf": "target", "target": "tf"})
        pairs = pd.concat([pairs, flipped], ignore_index=True)
    source, target, direction = _index_pairs(pairs, genes)
    listed = pairs["tf"].unique() if regulators is None else regulators.astype(object)
    at = pd.Index(genes.astype(object)).get_indexer(listed)
    if directed:
        sizes = pairs[pairs["tf"].isin(genes[at[at >= 0]].tolist())].groupby("tf").size()
        facts = facts | {"regulon_sizes": {str(name): int(size) for name, size in sizes.items()}}
    return Reference(
        name=name,
        genes=genes,
        source=source,
        target=target,
        direction=direction,
        directed=directed,
        regulators=np.sort(at[at >= 0]).astype(np.int32),
        facts=facts | {"pairs_inside": int(source.size), "regulators_inside": int(np.unique(source).size)},
    )


def _index_pairs(
    pairs: pd.DataFrame, genes: NDArray[np.str_]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int8] | None]:
    """Index pairs inside the gene list, ordered by regulator, then target, with their directions if stated."""
    index = pd.Index(genes.astype(object))
    source, target = index.get_indexer(pairs["tf"]), index.get_indexer(pairs["target"])
    inside = (source >= 0) & (target >= 0)
    order = np.lexsort((target[inside], source[inside]))
    direction = None
    if "direction" in pairs.columns:
        direction = pairs["direction"].to_numpy(dtype=np.int8)[inside][order]
    return source[inside][order].astype(np.int32), target[inside][order].astype(np.int32), direction


def _network_form(spec: DatasetSpec, kind: str) -> NetworkFormat:
    if spec.network is None or spec.kind != kind:
        raise NetworkError(f"{spec.file}: key `kind`: dataset {spec.id!r} is {spec.kind}, {kind} is needed.")
    return spec.network


def _read_rows(spec: DatasetSpec, form: NetworkFormat, path: Path) -> pd.DataFrame:
    try:
        if form.format == "parquet":
            return pd.read_parquet(path)
        if form.format == "tsv":
            return text_table(path)
        if form.format == "gmt":
            return pd.DataFrame(_gene_sets(path), columns=[form.set_name, form.members], dtype=object)
        rows = _relation_rows(path, form.relation)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise NetworkError(
            f"{path}: not a readable {form.format} file ({error}). Replace it (dataset {spec.id})."
        ) from error
    if not rows:
        raise NetworkError(f"{path}: no row has relation {form.relation!r} (key `network.relation` of {spec.file}).")
    return pd.DataFrame(rows, columns=[form.source, form.target], dtype=object)


def _gene_sets(path: Path) -> list[tuple[str, str]]:
    """Name and tab-separated members of every set of a GMT file (name, description, members ...), gzip or plain."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as lines:
        parts = [line.rstrip("\n").split("\t", 2) for line in lines if line.strip()]
    if not parts or min(map(len, parts)) < 3:
        raise ValueError("a GMT line holds name, description and members, separated by tabs")
    return [(name, members) for name, _, members in parts]


def _relation_rows(path: Path, relation: str) -> list[tuple[str, str]]:
    """Pairs of one relation of a SIF file (source, relation, target), gzip or plain.

    Lines of other relations are skipped before they are split: they are nine tenths of Pathway Commons.
    """
    wanted = f"\t{relation}\t"
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as lines:
        return [
            (source, rest.rstrip("\n").split("\t")[0])
            for line in lines
            if wanted in line
            for source, rest in [line.split(wanted, 1)]
        ]


def _column(frame: pd.DataFrame, column: str, path: Path, spec: DatasetSpec, key: str) -> pd.Series:
    if column not in frame.columns:
        columns = ", ".join(map(str, frame.columns))
        raise NetworkError(f"{path}: no column {column!r} (key `network.{key}` of {spec.file}); columns: {columns}.")
    return frame[column]


def _names(frame: pd.DataFrame, column: str, path: Path, spec: DatasetSpec, key: str) -> NDArray[np.object_]:
    """Genes of a column; those that are missing are empty and drop out with their pairs."""
    stated = _column(frame, column, path, spec, key)
    try:
        return plain_names(stated, column)
    except ValueError as error:
        raise NetworkError(f"{path}: {error}. Correct the row (dataset {spec.id}).") from error


def _numbers(frame: pd.DataFrame, column: str, path: Path, spec: DatasetSpec) -> pd.Series:
    values = pd.to_numeric(_column(frame, column, path, spec, f"thresholds.{column}"), errors="coerce")
    if values.isna().any():
        raise NetworkError(f"{path}: column {column!r} holds {int(values.isna().sum())} entries that are no numbers.")
    return values
