from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from interp_assets.cells.dataset_records import DatasetSpec, NetworkFormat
from interp_assets.cells.datasets import load_datasets
from interp_assets.cells.records import ScreenLabels
from interp_assets.cells.sources import SourceContext, locate
from interp_assets.edges.references import (
    NetworkError,
    gene_set_reference,
    network_reference,
    planted_reference,
    read_gene_list,
    read_network,
    restrict_reference,
)

GENES = np.array(["A", "B", "C", "D", "NA"])


def network(kind: str = "network", **form: Any) -> DatasetSpec:
    return DatasetSpec(
        id="toy",
        title="toy",
        kind=kind,
        species="human",
        data_origin="simulated",
        licence="CC0",
        file=Path("datasets/toy.yaml"),
        network=NetworkFormat(**{"format": "tsv"} | form),
    )


def write(tmp_path: Path, rows: list[str], name: str = "net.tsv") -> Path:
    path = tmp_path / name
    content = "\n".join(row.replace(" ", "\t") for row in rows) + "\n"
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(content.encode()))
    else:
        path.write_text(content, encoding="utf-8")
    return path


def pairs_of(reference) -> set[tuple[str, str]]:
    return {(reference.genes[s], reference.genes[t]) for s, t in zip(reference.source, reference.target, strict=True)}


ROWS = ["tf target", "B A", "A B", "A B", "A A", "A X", "X B", "Y Z", "A NA"]


def test_a_directed_network_inside_a_gene_list(tmp_path):
    found = network_reference(network(), write(tmp_path, ROWS), GENES)
    assert pairs_of(found) == {("A", "B"), ("B", "A"), ("A", "NA")}
    assert found.directed
    assert found.genes[found.regulators].tolist() == ["A", "B"]
    assert found.facts["self_pairs_dropped"] == 1
    assert found.facts["repeats_dropped"] == 1
    assert found.facts["pairs"] == 6
    assert found.facts["pairs_inside"] == 3
    order = list(zip(found.source.tolist(), found.target.tolist(), strict=True))
    assert order == sorted(order)


def test_a_regulator_without_target_inside_still_counts_as_one(tmp_path):
    found = network_reference(network(), write(tmp_path, ["tf target", "D X", "A B"]), GENES)
    assert found.genes[found.regulators].tolist() == ["A", "D"]
    assert found.facts["regulators_inside"] == 1


def test_an_undirected_network_holds_both_orders_once(tmp_path):
    found = network_reference(network(directed=False), write(tmp_path, ROWS), GENES)
    assert pairs_of(found) == {("A", "B"), ("B", "A"), ("A", "NA"), ("NA", "A")}
    assert len(found.source) == 4
    assert not found.directed


def test_a_sif_file_keeps_one_relation(tmp_path):
    rows = ["A controls B", "A binds C", "B controls C", "A controls-more D"]
    for name in ("net.sif", "net.sif.gz"):
        found = network_reference(network(format="sif", relation="controls"), write(tmp_path, rows, name), GENES)
        assert pairs_of(found) == {("A", "B"), ("B", "C")}
    with pytest.raises(NetworkError, match="no row has relation 'eats'"):
        read_network(network(format="sif", relation="eats"), write(tmp_path, rows, "net.sif"))


def test_thresholds_and_the_regulator_rule_are_applied_and_named(tmp_path):
    rows = ["tf target score", "A B 900", "A C 100", "A D 800", "B C 900"]
    pairs = read_network(network(thresholds={"score": 700}, min_targets=2), write(tmp_path, rows))
    assert pairs.to_numpy().tolist() == [["A", "B"], ["A", "D"]]
    assert pairs.attrs["regulators_dropped"] == 1
    assert pairs.attrs["regulator_rule"] == "at least 2 distinct targets in the whole file"


@pytest.mark.parametrize(
    ("rows", "form", "message"),
    [
        (["tf gene", "A B"], {}, "no column 'target' \\(key `network.target` of datasets/toy.yaml\\)"),
        (["tf target", "A A"], {}, "no pair is left"),
        (["tf target", "A B"], {"thresholds": {"score": 1}}, "no column 'score'"),
        (["tf target score", "A B high"], {"thresholds": {"score": 1}}, "holds 1 entries that are no numbers"),
        (["tf target", "A B"], {"format": "parquet"}, "not a readable parquet file"),
    ],
)
def test_a_wrong_network_is_named(tmp_path, rows, form, message):
    path = write(tmp_path, rows)
    with pytest.raises(NetworkError, match=message) as caught:
        read_network(network(**form), path)
    assert str(path) in str(caught.value)


def test_a_network_is_read_anew_where_its_file_or_its_declaration_changed(tmp_path):
    path = write(tmp_path, ["tf target score", "A B 900", "A C 100"])
    first = read_network(network(), path)
    first["target"] = "X"  # what a caller does with its pairs is its own matter
    assert read_network(network(), path).to_numpy().tolist() == [["A", "B"], ["A", "C"]]
    assert read_network(network(thresholds={"score": 700}), path)["target"].tolist() == ["B"]
    before = path.stat()
    write(tmp_path, ["tf target score", "A B 900", "A D 100"])  # as long as before
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert read_network(network(), path)["target"].tolist() == ["B", "D"]
    path.unlink()
    with pytest.raises(NetworkError, match="not a readable tsv file"):
        read_network(network(), path)


def test_a_list_of_regulators_keeps_its_pairs_only(tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("B\nNA\n\nB\n", encoding="utf-8")
    names = read_gene_list(network("gene_list"), listed)
    assert names == ("B", "NA")
    found = network_reference(network(), write(tmp_path, ROWS), GENES, regulators=names)
    assert pairs_of(found) == {("B", "A")}
    assert found.facts["pairs_of_other_regulators"] == 5
    listed.write_text("\n", encoding="utf-8")
    with pytest.raises(NetworkError, match="the list is empty"):
        read_gene_list(network("gene_list"), listed)


def test_a_truncated_network_is_named(tmp_path):
    rows = ["tf target"] + [f"T{i} G{i}" for i in range(500)]
    path = write(tmp_path, rows, "net.tsv.gz")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(NetworkError, match="not a readable tsv file"):
        read_network(network(), path)


def test_gene_sets_become_co_membership(tmp_path):
    path = tmp_path / "sets.parquet"
    pd.DataFrame({"Name": ["one", "two", "big"], "Genes": ["A;B;X", "C;NA", "A;B;C;D"]}).to_parquet(path)
    found = gene_set_reference(network("gene_sets", format="parquet", max_set_size=3), path, GENES)
    assert pairs_of(found) == {("A", "B"), ("B", "A"), ("C", "NA"), ("NA", "C")}
    assert found.facts["sets_too_large"] == 1
    assert found.genes[found.regulators].tolist() == ["A", "B", "C", "NA"]
    pd.DataFrame({"Name": ["one"], "Genes": ["A;D"]}).to_parquet(path)
    changed = gene_set_reference(network("gene_sets", format="parquet", max_set_size=3), path, GENES)
    assert pairs_of(changed) == {("A", "D"), ("D", "A")}
    with pytest.raises(NetworkError, match="gene_sets is needed"):
        gene_set_reference(network(), path, GENES)


def test_a_prefix_keeps_the_sets_of_one_collection(tmp_path):
    path = tmp_path / "sets.parquet"
    pd.DataFrame({"Name": ["KEGG_X", "REACTOME_X", "KEGG_Y"], "Genes": ["A;B", "C;NA", "A;C"]}).to_parquet(path)
    found = gene_set_reference(network("gene_sets", format="parquet", set_prefix="KEGG_"), path, GENES)
    assert pairs_of(found) == {("A", "B"), ("B", "A"), ("A", "C"), ("C", "A")}
    assert found.facts["sets_read"] == 2
    with pytest.raises(NetworkError, match=r"no gene set is called WIKI.*set_prefix"):
        gene_set_reference(network("gene_sets", format="parquet", set_prefix="WIKI"), path, GENES)


@pytest.fixture
def planted() -> ScreenLabels:
    weight = np.array([[0, 1.5, 0, -0.2, 0], [0, 0, 2.0, 0, 0]], dtype=np.float32)
    return ScreenLabels(
        dataset="toy",
        data_origin="semi_synthetic",
        kind="cells",
        modality="crispri",
        perturbations=np.array(["A", "B"]),
        genes=GENES,
        label=np.zeros((2, 5), dtype=np.int8),
        informative=np.zeros(5, dtype=bool),
        table=pd.DataFrame(),
        exclusions=pd.DataFrame(),
        planted_weight=weight,
    )


def test_the_planted_network_is_every_weight_called_or_not(planted):
    found = planted_reference(planted)
    assert found.name == "planted"
    assert pairs_of(found) == {("A", "B"), ("A", "D"), ("B", "C")}
    assert found.genes[found.regulators].tolist() == ["A", "B"]


def test_a_screen_that_was_not_planted_has_no_planted_network(planted):
    from dataclasses import replace

    with pytest.raises(ValueError, match="carries no planted network"):
        planted_reference(replace(planted, planted_weight=None))


def test_restricting_drops_what_is_outside(planted):
    full = planted_reference(planted)
    part = restrict_reference(full, np.array(["D", "C", "A"]))
    assert pairs_of(part) == {("A", "D")}
    assert part.genes[part.regulators].tolist() == ["A"]
    assert part.facts["pairs_inside"] == 1
    same = restrict_reference(full, GENES)
    np.testing.assert_array_equal(same.source, full.source)
    np.testing.assert_array_equal(same.target, full.target)


def test_pathway_commons_gives_the_published_counts(data_wheels, tmp_path):
    spec = load_datasets()["pathway_commons_expression"]
    path = locate(spec, SourceContext(wheels=data_wheels, cache=tmp_path)).path
    pairs = read_network(spec, path)
    assert pairs.attrs["rows_read"] == 122_785
    assert pairs.attrs["regulators"] + pairs.attrs["regulators_dropped"] == 1_513
    assert pairs.groupby("tf").size().min() >= 10
    assert not (pairs["tf"] == pairs["target"]).any()
