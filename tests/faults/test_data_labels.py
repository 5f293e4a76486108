"""Names that look like missing values, numbers, paths, markup or commands are read as the text they are, or refused."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import yaml

from interp_assets.assets.datasets import archive
from interp_assets.cells import artefacts
from interp_assets.cells.gene_names import read_gene_names
from interp_assets.cells.guides import read_guide_table
from interp_assets.cells.outcome_pairs import read_pairs
from interp_assets.cells.prepare import cells_hash
from interp_assets.cells.records import PreparedCells, ScreenLabels
from interp_assets.cells.vocabularies import read_vocabulary
from interp_assets.edges.references import read_gene_list, read_network
from interp_assets.layout import read_layout
from interp_assets.models.edge_tables.reading import edge_table_edges, load_edge_table
from interp_assets.settings import SettingsError, load_study
from interp_assets.storage import load_record, save_records
from qc_standards.user_tables import UserTableError, read_table
from tests.faults.hostile_names import NAMES, UNUSABLE
from tests.faults.small_world import World, drawn_screen

ENDINGS = ("tsv", "tsv.gz")


@pytest.fixture
def world(tmp_path, monkeypatch) -> World:
    found = World(tmp_path)
    found.described(monkeypatch)
    return found


def spec(name: str) -> Any:
    return read_layout().datasets[name]


def written(path: Path, frame: pd.DataFrame) -> str:
    """A table as programs write it, all of its text in quotes."""
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        separator = "," if ".csv" in path.name else "\t"
        frame.to_csv(path, index=False, sep=separator, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    return path.name


def ring(names: Sequence[str]) -> pd.DataFrame:
    """Each name beside the next one."""
    return pd.DataFrame({"one": names, "other": [*names[1:], names[0]]}, dtype=object)


def network(world: World, names: Sequence[str], ending: str) -> set[str]:
    frame = ring(names).rename(columns={"one": "tf", "other": "target"})
    file = written(world.root / "mirror" / f"net.{ending}", frame)
    form = {"format": "parquet" if ending == "parquet" else "tsv"}
    world.declare("net", file, "network", network=form)
    return set(read_network(spec("net"), world.root / "mirror" / file)["tf"])


def outcomes(world: World, names: Sequence[str], ending: str) -> set[str]:
    frame = ring(names).assign(label=1)
    file = written(world.root / "mirror" / f"pairs.{ending}", frame)
    document = {"perturbation": "one", "gene": "other", "label": "label"}
    drawn_screen(["G0", "G1"], ["G0"], 0).written(world.root / "mirror" / "toy.h5ad")
    world.declare_cells("toy")
    told = {"base": "toy", "modality": "crispri", "universe": {"genes": 0, "forced": "screen"}}
    world.declare("pairs", file, "outcome_only", outcomes=document, context_mismatch="none", **told)
    return set(read_pairs(spec("pairs"), world.root / "mirror" / file)["perturbation"])


def guides(world: World, names: Sequence[str], ending: str) -> set[str]:
    frame = ring(names).assign(kind="t", group="g")
    file = written(world.root / "mirror" / f"guides.{ending}", frame)
    form = {"guide": "one", "gene": "other", "kind": "kind", "group": "group", "kinds": {"t": "target"}}
    world.declare("guides", file, "guide_table", guide_table=form)
    return set(read_guide_table(spec("guides"), world.root / "mirror" / file)["guide"])


def vocabulary(world: World, names: Sequence[str], ending: str) -> set[str]:
    file = written(world.root / "mirror" / f"known.{ending}", ring(names))
    world.declare("known", file, "vocabulary", vocabulary={"format": "tsv", "genes": "one"})
    return set(read_vocabulary(spec("known"), world.root / "mirror" / file))


TABLES: dict[str, Callable[[World, Sequence[str], str], set[str]]] = {
    "network": network,
    "outcomes": outcomes,
    "guides": guides,
    "vocabulary": vocabulary,
}


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("ending", ENDINGS)
def test_every_word_of_a_table_is_a_name(kind, ending, world, tally) -> None:
    assert TABLES[kind](world, NAMES, ending) == set(NAMES)
    tally("fault", "hostile names in published tables", times=len(NAMES))


def test_every_word_of_other_files_is_a_name(world, tally) -> None:
    assert network(world, NAMES, "parquet") == set(NAMES)
    path = world.root / "mirror" / "known.json.gz"
    path.write_bytes(gzip.compress(json.dumps({name: number for number, name in enumerate(NAMES)}).encode()))
    world.declare("known_json", path.name, "vocabulary", vocabulary={"format": "json"})
    assert set(read_vocabulary(spec("known_json"), path)) == set(NAMES)
    table = world.root / "mirror" / "names.csv"
    table.write_text("".join(f'"{name.replace(chr(34), 2 * chr(34))}",id{at}\n' for at, name in enumerate(NAMES)))
    assert set(read_gene_names(table, "names").symbol_of) == set(NAMES)
    listed = world.root / "mirror" / "list.txt"
    listed.write_text("".join(f"{name}\n" for name in NAMES), encoding="utf-8")
    world.declare("listed", listed.name, "gene_list")
    assert set(read_gene_list(spec("listed"), listed)) == set(NAMES)
    tally("fault", "hostile names in published tables", times=4 * len(NAMES))


@pytest.mark.parametrize("kind", ["network", "outcomes", "guides"])
def test_names_that_are_none_are_refused(kind, world, tally) -> None:
    for name in UNUSABLE:
        with pytest.raises(ValueError, match=r"a name has (no line break|at most 1,000)|a NUL character") as caught:
            TABLES[kind](world, ["G1", name, "G2"], "tsv")
        assert "mirror" in str(caught.value)
        assert "\n" not in str(caught.value)
        tally("fault", "names with line breaks or control characters", "refused")


@pytest.mark.parametrize(("ending", "extra"), [("\t", ""), ("\tmore", "more")], ids=["nothing", "something"])
@pytest.mark.parametrize("kind", TABLES)
def test_a_longer_line_moves_no_column(kind, ending, extra, world, monkeypatch, tally) -> None:
    """Regression: where every line had one field more than the header, each column was read under its left name."""
    plain_csv = pd.DataFrame.to_csv

    def longer(frame: pd.DataFrame, target: Path, **options: Any) -> None:
        plain_csv(frame, target, **options)
        head, *lines = target.read_text(encoding="utf-8").splitlines()
        target.write_text("\n".join([head, *(f"{line}{ending}" for line in lines)]) + "\n", encoding="utf-8")

    monkeypatch.setattr(pd.DataFrame, "to_csv", longer)
    names = ["G1", "G2", "G3"]
    if extra:
        with pytest.raises(ValueError, match="lines have more fields than the first one"):
            TABLES[kind](world, names, "tsv")
    else:
        assert TABLES[kind](world, names, "tsv") == set(names)
    tally("fault", "a table whose lines are longer than its header", "refused" if extra else "right")


def test_a_missing_name_is_no_name(world, tally) -> None:
    """Regression: a missing regulator of a parquet file became a regulator called None."""
    frame = pd.DataFrame({"tf": ["A", None, np.nan], "target": ["B", "C", "D"]}, dtype=object)
    written(world.root / "mirror" / "net.parquet", frame)
    world.declare("net", "net.parquet", "network", network={"format": "parquet"})
    assert read_network(spec("net"), world.root / "mirror" / "net.parquet")["tf"].tolist() == ["A"]
    tally("fault", "missing names")


def prepared(world: World) -> tuple[PreparedCells, ScreenLabels]:
    world.declare_cells("toy", cells={"obs": {"perturbation": ["guide"], "donor": ["donor"], "cell_type": ["kind"]}})
    shelf = archive(read_layout())
    cells = artefacts.prepared_cells(shelf, "toy")
    labels = artefacts.screen_outcomes(shelf, "toy", cells)
    return cells, labels


def test_a_screen_of_hostile_names_is_stored_and_read_back(world, tmp_path, tally) -> None:
    perturbed = [name for name in NAMES if "+" not in name]
    screen = drawn_screen(NAMES, perturbed, 1, each=6)
    size = len(screen.cells)
    screen.cells = [f"{name} {number}" for number, name in enumerate(np.resize(NAMES, size))]
    screen.obs |= {"donor": np.resize(NAMES, size).astype(object), "kind": np.resize(NAMES[::-1], size).astype(object)}
    screen.written(world.root / "mirror" / "toy.h5ad")
    cells, labels = prepared(world)
    assert cells.genes.tolist() == list(NAMES)
    assert set(cells.obs["donor"]) == set(cells.obs["cell_type"]) == set(NAMES)
    assert set(labels.perturbations) == set(perturbed)
    assert labels.own_change["perturbation"].tolist() == sorted(perturbed)
    save_records(tmp_path / "kept", {"cells": cells, "labels": labels})
    again = load_record(tmp_path / "kept" / "cells", PreparedCells)
    table = load_record(tmp_path / "kept" / "labels", ScreenLabels).table
    assert again.genes.tolist() == list(NAMES)
    pd.testing.assert_frame_equal(again.obs, cells.obs)
    pd.testing.assert_frame_equal(table, labels.table)
    assert not table["perturbation"].isna().any()
    assert set(table["perturbation"]) == set(perturbed)
    tally("fault", "hostile names of genes, cells, donors and perturbations", times=4 * len(NAMES))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([True, False], {"True", "False"}),
        ([1.0, 2.0], {"1.0", "2.0"}),
        ([1, 100000], {"1", "100000"}),
        (["NA", "nan"], {"NA", "nan"}),
        (pd.Categorical(["None", " G1 "]), {"None", "G1"}),
    ],
    ids=["truth", "numbers", "whole numbers", "words", "categories"],
)
def test_labels_of_every_kind_become_their_words(values, expected, world, tally) -> None:
    screen = drawn_screen(["G0", "G1"], ["G0"], 2)
    screen.obs |= {"donor": np.resize(["d"], 55), "kind": np.resize(["k"], 55)}
    path = screen.written(world.root / "mirror" / "toy.h5ad")
    data = anndata.read_h5ad(path)
    half = pd.Series(np.arange(55) % 2)
    picked = pd.Series(values).iloc[half]
    data.obs["donor"] = picked.to_numpy() if not isinstance(values, pd.Categorical) else picked.to_list()
    data.write_h5ad(path)
    cells, _ = prepared(world)
    assert set(cells.obs["donor"]) == expected
    tally("fault", "labels that are numbers, truth values or categories", times=2)


def test_a_gene_without_an_entry_keeps_its_own_name(world, tally) -> None:
    """Regression: genes whose column was missing were all called nan, and their counts summed."""
    path = drawn_screen([f"id{number}" for number in range(5)], ["G0"], 3).written(world.root / "mirror" / "toy.h5ad")
    data = anndata.read_h5ad(path)
    data.var["symbol"] = pd.Categorical(["G0", None, "nan", None, "G4"])
    data.write_h5ad(path)
    world.declare_cells("toy", cells={"gene_column": "symbol"})
    cells = artefacts.prepared_cells(archive(read_layout()), "toy")
    assert cells.genes.tolist() == ["G0", "id1", "nan", "id3", "G4"]
    assert cells.facts["genes_summed"] == 0
    tally("fault", "missing names")


def test_cell_names_are_hashed_one_a_line() -> None:
    assert cells_hash(["a", "b"]) == cells_hash(["a\nb"])  # why a line break in a cell name is refused


def test_edges_of_hostile_regulators_stand_in_their_places(tmp_path, tally) -> None:
    frame = pd.DataFrame({"source": NAMES, "target": [*NAMES[1:], NAMES[0]], "score": np.arange(len(NAMES)) + 1.0})
    for ending in ("csv", "tsv", "csv.gz", "parquet"):
        path = tmp_path / f"edges.{ending}"
        written(path, frame)
        edges = edge_table_edges(load_edge_table(path), dataset="toy", universe=np.array(NAMES), cells_hash="h")
        score = edges.layer_matrix(0).score
        at = np.arange(len(NAMES))
        assert score[at, np.roll(at, -1)].tolist() == frame["score"].tolist()
        assert np.isfinite(score).sum() == len(NAMES)
        tally("fault", "hostile regulators of edge tables", times=len(NAMES))


def test_a_gate_table_keeps_names_and_numbers_apart(tmp_path, tally) -> None:
    """Regression: regulators called NA, nan or None were missing values to ``qc-gate validate``."""
    path = tmp_path / "mine.csv"
    numbers = [*([0.5] * (len(NAMES) - 2)), np.nan, -1e300]
    written(path, pd.DataFrame({"regulator": NAMES, "value": numbers, "held": [True] * len(NAMES)}))
    table = read_table(path)
    assert table["regulator"].tolist() == list(NAMES)
    assert (table["value"].dtype, table["held"].dtype) == (np.float64, bool)
    np.testing.assert_array_equal(table["value"], numbers)
    path.write_text("value\tname\nNA\t\n1\tNA\n", encoding="utf-8")
    kept = read_table(path.rename(tmp_path / "mine.tsv"))
    assert kept["value"].isna().tolist() == [True, False]
    assert kept["name"].isna().tolist() == [True, True]  # a column of nothing but NA holds no name
    (tmp_path / "mine.tsv").write_text("value\tname\n1\tNA\tx\n", encoding="utf-8")
    with pytest.raises(UserTableError, match=r"mine\.tsv: cannot be read as tsv \(lines have more fields"):
        read_table(tmp_path / "mine.tsv")
    tally("fault", "hostile names in tables for the gate", times=len(NAMES))
    tally("fault", "a table whose lines are longer than its header", "refused")


BAD_STUDIES = (".", "a b", "a|b", "<script>", "-x", "cells", "attention", "history", "n\u00e9", "a.b", "x" * 101)


@pytest.mark.parametrize("name", BAD_STUDIES)
def test_a_study_is_named_like_a_folder_of_its_own(name, world, tally) -> None:
    """Regression: a study file could be called like a folder of the store, or lead out of it."""
    path = world.root / "config" / "studies" / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"title": "t", "primary_reference": "r", "roles": {"primary_screen": "d"}}))
    with pytest.raises(SettingsError, match="the name of the file is that of the study") as caught:
        load_study(path)
    assert str(path) in str(caught.value)
    tally("fault", "hostile names of studies", "refused")


def test_a_role_ends_where_its_line_ends(world, tally) -> None:
    path = world.root / "config" / "studies" / "mine.yaml"
    path.write_text(yaml.safe_dump({"title": "t", "primary_reference": "r", "roles": {"primary_screen\n": "d"}}))
    with pytest.raises(SettingsError, match="is no role name"):
        load_study(path)
    tally("fault", "hostile names of studies", "refused")
