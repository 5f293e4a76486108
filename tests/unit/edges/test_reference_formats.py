"""Networks with levels and directions, and gene sets of GMT files."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from interp_assets.cells.dataset_records import DatasetSpec, NetworkFormat
from interp_assets.cells.datasets import load_datasets
from interp_assets.cells.sources import SourceContext, locate
from interp_assets.edges.records import Reference
from interp_assets.edges.references import (
    NetworkError,
    gene_set_reference,
    network_reference,
    read_network,
    restrict_reference,
)

GENES = np.array(["A", "B", "C", "D", "NA"])
SIGNED = {"direction": "mode", "activation": ("Activation",), "repression": ("Repression",)}
ROWS = [
    "tf target mode",
    "A B Activation",
    "A B Unknown",
    "A C Repression",
    "A D Activation",
    "A D Repression",
    "A D Unknown",
    "A NA Unknown",
    "A NA",
    "B A activation",
    "B C Repression",
    "B C Repression",
    "C C Activation",
    "X A Activation",
]


def spec_of(kind: str = "network", **form: Any) -> DatasetSpec:
    return DatasetSpec(
        id="toy",
        title="toy",
        kind=kind,
        species="human",
        data_origin="archived",
        licence="CC0",
        file=Path("datasets/toy.yaml"),
        network=NetworkFormat(**{"format": "tsv"} | form),
    )


def write(tmp_path: Path, rows: list[str], name: str = "net.tsv") -> Path:
    content = "".join(row.replace(" ", "\t") + "\n" for row in rows).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def directions(reference: Reference) -> dict[tuple[str, str], int]:
    assert reference.direction is not None
    assert reference.direction.dtype == np.int8
    names = reference.genes
    triples = zip(reference.source, reference.target, reference.direction, strict=True)
    return {(str(names[source]), str(names[target])): int(sign) for source, target, sign in triples}


EXPECTED = {("A", "B"): 1, ("A", "C"): -1, ("A", "D"): 2, ("A", "NA"): 0, ("B", "A"): 0, ("B", "C"): -1}


def test_rows_of_one_pair_are_merged_into_one_direction(tmp_path):
    path = write(tmp_path, ROWS)
    pairs = read_network(spec_of(**SIGNED), path)
    assert pairs.columns.tolist() == ["tf", "target", "direction"]
    assert {(row.tf, row.target): row.direction for row in pairs.itertuples()} == EXPECTED | {("X", "A"): 1}
    assert pairs.attrs["repeats_dropped"] == 5
    assert pairs.attrs["self_pairs_dropped"] == 1
    plain = read_network(spec_of(), path)
    pd.testing.assert_frame_equal(plain, pairs[["tf", "target"]])


def test_the_order_of_rows_changes_no_direction(tmp_path):
    rows = [ROWS[0], *reversed(ROWS[1:])]
    assert directions(network_reference(spec_of(**SIGNED), write(tmp_path, rows), GENES)) == EXPECTED


def test_directions_follow_their_pairs_into_a_reference(tmp_path):
    path = write(tmp_path, ROWS)
    found = network_reference(spec_of(**SIGNED), path, GENES[::-1])
    assert directions(found) == EXPECTED
    part = restrict_reference(found, np.array(["D", "A", "C"]))
    assert directions(part) == {("A", "C"): -1, ("A", "D"): 2}
    listed = network_reference(spec_of(**SIGNED), path, GENES, regulators=["B"])
    assert directions(listed) == {("B", "A"): 0, ("B", "C"): -1}


def test_a_network_that_states_no_direction_has_none(tmp_path):
    for form in ({}, {"directed": False}):
        found = network_reference(spec_of(**form), write(tmp_path, ROWS), GENES)
        assert found.direction is None
        assert restrict_reference(found, GENES[:2]).direction is None


def test_the_rule_for_regulators_counts_targets_once(tmp_path):
    pairs = read_network(spec_of(min_targets=2, **SIGNED), write(tmp_path, ROWS))
    assert pairs["tf"].unique().tolist() == ["A", "B"]
    assert pairs.attrs["regulators_dropped"] == 1


@pytest.mark.parametrize("numbers", [["1", "-1", "0"], [1, -1, 0], [1.0, -1.0, 0.0], ["+1", "-1.0", ""]])
def test_signs_may_be_written_as_numbers_of_any_kind(tmp_path, numbers):
    path = tmp_path / "net.parquet"
    pd.DataFrame({"tf": ["A", "A", "B"], "target": ["B", "C", "C"], "mor": numbers}).to_parquet(path)
    signed = spec_of(format="parquet", direction="mor", activation=("1",), repression=("-1",))
    assert read_network(signed, path)["direction"].tolist() == [1, -1, 0]


def test_levels_keep_the_listed_values(tmp_path):
    rows = ["tf target level score", "A B high 9", "A C low 9", "A D middle 9", "B C high 1"]
    path = write(tmp_path, rows)
    found = read_network(spec_of(levels={"level": ("high", "middle")}, thresholds={"score": 5}), path)
    assert found.to_numpy().tolist() == [["A", "B"], ["A", "D"]]
    assert (found.attrs["rows_read"], found.attrs["rows_kept"]) == (4, 2)
    with pytest.raises(NetworkError, match="no pair is left"):
        read_network(spec_of(levels={"level": ("HIGH",)}), path)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (
            {"levels": {"confidence": ("A",)}},
            r"no column 'confidence' \(key `network.levels.confidence` of datasets/toy",
        ),
        (SIGNED | {"direction": "sign"}, r"no column 'sign' \(key `network.direction` of datasets/toy.yaml\)"),
    ],
)
def test_an_absent_column_is_named(tmp_path, form, message):
    path = write(tmp_path, ROWS)
    with pytest.raises(NetworkError, match=message) as caught:
        read_network(spec_of(**form), path)
    assert str(path) in str(caught.value)


SETS = ["one first A B X", "two second C NA", "big third A B C D"]


@pytest.mark.parametrize("name", ["sets.gmt", "sets.gmt.gz"])
def test_gmt_sets_become_co_membership(tmp_path, name):
    form = spec_of("gene_sets", format="gmt", directed=False, max_set_size=3)
    found = gene_set_reference(form, write(tmp_path, SETS, name), GENES)
    pairs = {(GENES[s], GENES[t]) for s, t in zip(found.source, found.target, strict=True)}
    assert pairs == {("A", "B"), ("B", "A"), ("C", "NA"), ("NA", "C")}
    assert (found.directed, found.direction) == (False, None)
    assert (found.facts["sets_read"], found.facts["sets_too_large"]) == (3, 1)
    assert found.genes[found.regulators].tolist() == ["A", "B", "C", "NA"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "not a readable gmt file"),
        (["name only"], "a GMT line holds name, description and members"),
        (["one first A B", "short"], "a GMT line holds name, description and members"),
        (["big x A B C D"], "no gene set is left"),
    ],
)
def test_a_wrong_gmt_file_is_named(tmp_path, rows, message):
    path = write(tmp_path, rows, "sets.gmt")
    with pytest.raises(NetworkError, match=message) as caught:
        gene_set_reference(spec_of("gene_sets", format="gmt", directed=False, max_set_size=3), path, GENES)
    assert str(path) in str(caught.value)


def in_mirror(name: str, mirror: Path, tmp_path: Path) -> tuple[DatasetSpec, Path]:
    spec = load_datasets()[name]
    return spec, locate(spec, SourceContext(wheels=tmp_path, cache=tmp_path, mirror=mirror)).path


@pytest.mark.mirror
@pytest.mark.parametrize(
    ("name", "rows", "pairs", "regulators", "signs"),
    [
        # TRRUST as published: 8,427 pairs, 4,859 of known direction. 24 pairs are self pairs, 14 of them known;
        # 207 pairs list both directions and count among the known.
        ("trrust_human", 9_396, 8_427 - 24, 794, {1: 2_927, -1: 1_711, 2: 207, 0: 8_427 - 4_859 - 10}),
        ("trrust_mouse", 7_057, 6_490 - 28, 826, {1: 2_716, -1: 1_235, 2: 110, 0: 2_401}),
        ("dorothea_human_a", 5_434, 5_434, 96, {1: 4_978, -1: 456}),
        ("dorothea_human_ab", 5_434 + 974, 6_408, 118, {1: 5_411, -1: 997}),
        ("dorothea_human_abc", 5_434 + 974 + 6_815, 13_223, 271, {1: 11_173, -1: 2_050}),
        ("collectri_human", 43_178, 43_178 - 462, 1_178, {1: 37_360 - 430, -1: 5_818 - 32}),
        ("beeline_chip_hepg2_human", 342_862, 342_862 - 39, 84, None),
        ("beeline_chip_nonspecific_mouse", 100_139, 100_139 - 149, 1_452, None),
        ("beeline_chip_mdc_mouse", 30_658, 30_658 - 8, 36, None),
        ("string_human", 131_455, 131_455, 9_913, None),
        ("string_human_900", 71_376, 71_376, 7_227, None),
        ("beeline_lofgof_mesc_mouse", 104_201, 104_201 - 27, 55, None),
        ("beeline_string_human", 99_149, 99_149 - 3, 1_489, None),
        ("beeline_string_mouse", 78_567, 78_567, 1_350, None),
        ("dorothea_mouse_abc", 12_895, 12_895, 273, {1: 11_038, -1: 1_857}),
        ("mccalla23_mesc_perturbation_mouse", 201_873, 201_873 - 98, 172, None),
        ("mccalla23_mesc_chip_mouse", 197_597, 197_597 - 23, 54, None),
        ("mccalla23_mdc_perturbation_mouse", 191_548, 191_548 - 39, 106, None),
        ("mccalla23_mdc_chip_mouse", 204_551, 204_551, 29, None),
        ("string_human_700_no_coexpression", 23_181, 23_181, 5_543, None),
    ],
)
def test_published_networks_have_their_published_size(data_mirror, tmp_path, name, rows, pairs, regulators, signs):
    found = read_network(*in_mirror(name, data_mirror, tmp_path))
    assert (found.attrs["rows_kept"], len(found), found.attrs["regulators"]) == (rows, pairs, regulators)
    if signs is None:
        assert "direction" not in found.columns
    else:
        assert found["direction"].value_counts().to_dict() == signs


@pytest.mark.mirror
def test_trrust_knows_as_many_directions_as_published(data_mirror, tmp_path):
    """Self pairs counted: 8,427 pairs and 4,859 of known direction, the conflicting ones among them."""
    raw = pd.read_csv(in_mirror("trrust_human", data_mirror, tmp_path)[1], sep="\t", keep_default_na=False)
    known = raw["mode"].ne("Unknown").groupby([raw["tf"], raw["target"]]).any()
    assert (len(known), int(known.sum())) == (8_427, 4_859)


@pytest.mark.mirror
@pytest.mark.parametrize(
    ("name", "sets", "too_large"),
    [("reactome_human", 1_448, 29), ("go_bp_human_no_iea", 5_542, 0), ("kegg_2011_human", 229, 1)],
)
def test_published_gene_sets_have_their_published_size(data_mirror, tmp_path, name, sets, too_large):
    found = gene_set_reference(
        *in_mirror(name, data_mirror, tmp_path), np.array(["STAT1", "JAK2", "IFNGR1", "nowhere"])
    )
    assert (found.facts["sets_read"], found.facts["sets_too_large"]) == (sets, too_large)
    assert found.facts["pairs_inside"] == 6
    assert found.regulators.tolist() == [0, 1, 2]
