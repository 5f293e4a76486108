"""Genes that published tokenisers know."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from interp_assets.cells.dataset_records import DatasetSpec, VocabularyFormat
from interp_assets.cells.datasets import load_datasets
from interp_assets.cells.gene_names import GeneNames, read_gene_names
from interp_assets.cells.integrity import DataFileError
from interp_assets.cells.sources import SourceContext, locate
from interp_assets.cells.vocabularies import read_vocabulary

NAMES = GeneNames(table="t", symbols=frozenset({"A", "NA"}), symbol_of={"ENSG1": "A", "ENSG2": "NA", "ENSG3": "A"})
BY_ID = {"format": "tsv", "genes": "id", "gene_id": "ensembl", "gene_table": "t", "special": ("<pad>", "<mask>")}


def vocabulary(**form: Any) -> DatasetSpec:
    return DatasetSpec(
        id="toy",
        title="toy",
        kind="vocabulary",
        species="human",
        data_origin="archived",
        licence="CC0",
        file=Path("datasets/toy.yaml"),
        vocabulary=VocabularyFormat(**form),
    )


def write(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_genes_of_a_mapping_are_its_keys(tmp_path, suffix):
    tokens = {"TP53": 1, "NA": 2, "<pad>": 0, "A1BG": 3}
    path = write(tmp_path / f"v.json{suffix}", json.dumps(tokens))
    assert read_vocabulary(vocabulary(format="json", special=("<pad>",)), path) == ("A1BG", "NA", "TP53")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_ids_of_a_table_become_symbols(tmp_path, suffix):
    rows = ["token\tid", "0\t<pad>", "1\t<mask>", "2\tENSG2", "3\tENSG1", "4\tENSG3", "5\tENSG9", "6\t"]
    path = write(tmp_path / f"v.tsv{suffix}", "\n".join(rows) + "\n")
    assert read_vocabulary(vocabulary(**BY_ID), path, NAMES) == ("A", "ENSG9", "NA")


@pytest.mark.parametrize(
    ("name", "text", "form", "message"),
    [
        (
            "v.tsv",
            "id\nENSG1\n",
            BY_ID | {"genes": "gene"},
            r"no column 'gene' \(key `vocabulary.genes` of datasets/toy",
        ),
        ("v.tsv", "id\n<pad>\n", BY_ID, "the vocabulary names no gene"),
        ("v.json", "[1, 2]", {"format": "json"}, "a JSON vocabulary maps genes to numbers, found list"),
        ("v.json", "{", {"format": "json"}, "not a readable json vocabulary"),
        ("v.json.gz", "", {"format": "json"}, "not a readable json vocabulary"),
    ],
)
def test_a_wrong_vocabulary_is_named(tmp_path, name, text, form, message):
    path = write(tmp_path / name, text)
    with pytest.raises(DataFileError, match=message) as caught:
        read_vocabulary(vocabulary(**form), path, NAMES)
    assert str(path) in str(caught.value)


def test_a_truncated_vocabulary_is_named(tmp_path):
    path = write(tmp_path / "v.json.gz", json.dumps({f"G{i}": i for i in range(500)}))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataFileError, match="not a readable json vocabulary"):
        read_vocabulary(vocabulary(format="json"), path)


def test_ids_without_a_table_are_refused(tmp_path):
    path = write(tmp_path / "v.tsv", "id\nENSG1\n")
    with pytest.raises(DataFileError, match=r"key `vocabulary\.gene_table`.*without the gene table"):
        read_vocabulary(vocabulary(**BY_ID), path)
    with pytest.raises(DataFileError, match="vocabulary is needed"):
        read_vocabulary(load_datasets()["trrust_human"], path)


@pytest.mark.mirror
@pytest.mark.parametrize(
    ("name", "genes", "unnamed"),
    [
        # 25,424 and 20,271 ids besides the special tokens; several ids may share a symbol.
        ("geneformer_gc30m_vocabulary", 25_411, 3_371),
        ("geneformer_gc95m_vocabulary", 20_268, 234),
        ("scgpt_vocabulary", 48_292, 0),
        ("scgpt_census_vocabulary", 60_694, 0),
    ],
)
def test_published_vocabularies_have_their_published_size(data_mirror, tmp_path, name, genes, unnamed):
    specs = load_datasets()
    context = SourceContext(wheels=tmp_path, cache=tmp_path, mirror=data_mirror)
    table = specs[name].vocabulary.gene_table
    names = read_gene_names(locate(specs[table], context).path, table) if table else None
    found = read_vocabulary(specs[name], locate(specs[name], context).path, names)
    assert len(found) == genes
    assert {"TP53", "STAT1", "GAPDH"} <= set(found)
    assert not any(gene.startswith("<") for gene in found)
    if names is not None:
        assert sum(gene not in names.symbols for gene in found) == unnamed
