from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from interp_assets.cells.data_wheels import required_wheels
from interp_assets.cells.dataset_records import WheelSource
from interp_assets.cells.datasets import dataset, load_dataset, load_datasets
from interp_assets.cells.declared import DeclarationError
from interp_assets.cells.planted_recipe import planted_params

REPOSITORY = Path(__file__).resolve().parents[3]


def change(document: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    *parents, last = key.split(".")
    target = document
    for parent in parents:
        target = target[parent]
    if value is None:
        target.pop(last)
    else:
        target[last] = value
    return document


def test_every_built_in_dataset_loads_and_its_references_exist():
    specs = load_datasets()
    assert {"baron_pancreas_human", "perturbqa_k562", "planted_primary", "planted_tiny"} <= set(specs)
    assert all(spec.licence and spec.provenance for spec in specs.values())
    assert {spec.data_origin for spec in specs.values() if spec.kind == "planted"} == {"semi_synthetic"}


def test_wheel_hashes_are_those_of_the_requirements_file():
    pinned = set(required_wheels(REPOSITORY / "requirements-data.txt").values())
    used = {
        source.wheel_sha256
        for spec in load_datasets().values()
        for source in spec.sources
        if isinstance(source, WheelSource)
    }
    assert used == pinned
    assert len(pinned) == 4


def test_the_demonstration_needs_no_mirror():
    specs = load_datasets()
    screens = [spec for spec in specs.values() if spec.kind == "planted"]
    needed = {name for spec in screens for name in (spec.base, spec.planted_network)}
    assert needed == {"baron_pancreas_human", "baron_pancreas_human_sample", "pathway_commons_expression"}
    for name in needed:
        assert any(isinstance(source, WheelSource) for source in specs[name].sources)


@pytest.mark.parametrize("name", [spec.id for spec in load_datasets().values() if spec.kind == "planted"])
def test_planted_knobs_are_known_to_the_recipe(name):
    spec = load_datasets()[name]
    params = planted_params(spec)
    assert params.seed == spec.planted["seed"]
    assert params.universe
    assert params.modality.lower() == spec.modality


def test_planted_screens_of_the_demonstration_share_their_network():
    specs = [spec for name, spec in load_datasets().items() if name.startswith("planted_") and "tiny" not in name]
    shared = ("universe_panel", "network_seed", "n_perturbations", "regulator_detection")
    assert len({tuple(spec.planted[key] for key in shared) for spec in specs}) == 1
    seeds = [spec.planted["seed"] for spec in specs if spec.planted["world"] == "signal"]
    assert len(seeds) == len(set(seeds))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("kind", "pictures", "key `kind`: is 'pictures'; allowed: cells"),
        ("id", "Toy Cells", "key `id`"),
        ("title", None, "key `title`: is missing"),
        ("species", "yeast", "key `species`"),
        ("data_origin", "real-ish", "key `data_origin`"),
        ("licence", 3, "key `licence`: must be text"),
        ("provenance", None, "key `provenance`"),
        ("sources", None, "key `sources`: lists nothing"),
        ("sources", [{"ftp": {}}], "exactly one of mirror, wheel, download"),
        ("sources", [{"mirror": {"path": "../x", "size": 1, "sha256": "0" * 64}}], "key `sources\\[0\\].mirror.path`"),
        ("sources", [{"mirror": {"path": "x", "size": 1, "sha256": "zz"}}], "key `sources\\[0\\].mirror.sha256`"),
        ("sources", [{"mirror": {"path": "x", "size": 0, "sha256": "0" * 64}}], "key `sources\\[0\\].mirror.size`"),
        (
            "sources",
            [{"download": {"url": "http://x/y", "size": 1, "sha256": "0" * 64}}],
            "only https is read",
        ),
        ("cells", None, "key `cells`: is missing"),
        ("cells.colour", "red", "key `cells.colour`: is not known here"),
        ("cells.max_unknown_genes", 2, "key `cells.max_unknown_genes`: must be a number from 0 to 1"),
        ("cells.min_genes_per_cell", 1.5, "key `cells.min_genes_per_cell`: must be a whole number"),
        ("cells.obs.perturbation", None, "names no `perturbation` column"),
        ("cells.gene_id", "ensembl", "key `cells.gene_table`: is missing"),
        ("universe.genes", 0, "nothing would be scored"),
        ("universe.panel", "no_such_panel", "no panel 'no_such_panel'"),
        ("surprise", 1, "key `surprise`: is not known here"),
    ],
)
def test_a_wrong_key_is_named_with_its_file(document, declare, tmp_path, key, value, message):
    with pytest.raises(DeclarationError, match=message) as caught:
        declare(change(document, key, value))
    assert str(tmp_path / "datasets" / "toy.yaml") in str(caught.value) or key == "id"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no mapping"),
        ("- a\n- b\n", "holds no mapping"),
        ("id: [unclosed", "not valid YAML"),
        ("id: toy\nid: again\n", "key written twice: id"),
    ],
)
def test_a_file_that_is_no_declaration_is_named(tmp_path, text, message):
    path = tmp_path / "toy.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DeclarationError, match=message) as caught:
        load_dataset(path)
    assert str(path) in str(caught.value)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(DeclarationError, match="cannot be read"):
        load_dataset(tmp_path / "none.yaml")


def test_a_users_folder_adds_and_overrides(tmp_path, document, declare: Callable[..., Any]):
    declare(document)
    own = load_datasets()["trrust_human"]
    replaced = yaml.safe_load(own.file.read_text(encoding="utf-8")) | {"title": "my own copy"}
    declare(replaced)
    specs = load_datasets(tmp_path)
    assert specs["toy"].file.parent == tmp_path / "datasets"
    assert specs["trrust_human"].title == "my own copy"
    assert load_datasets()["trrust_human"].title != "my own copy"


def test_a_users_panel_is_found_beside_their_datasets(tmp_path, document, declare):
    (tmp_path / "panels").mkdir()
    (tmp_path / "panels" / "mine.txt").write_text("G1\nG2\n", encoding="utf-8")
    spec = declare(document | {"universe": {"genes": 0, "forced": "panel", "panel": "mine"}})
    assert spec.universe.panel_genes == ("G1", "G2")


def test_the_config_folder_must_exist(tmp_path):
    with pytest.raises(DeclarationError, match="is not a folder"):
        load_datasets(tmp_path / "absent")


def test_an_id_must_be_the_file_name(tmp_path, document, declare):
    declare(document)
    (tmp_path / "datasets" / "toy.yaml").rename(tmp_path / "datasets" / "other.yaml")
    with pytest.raises(DeclarationError, match="must equal the file name 'other'"):
        load_datasets(tmp_path)


def test_references_between_datasets_are_checked(tmp_path, document, declare):
    document["cells"]["gene_table"] = "trrust_human"
    declare(document)
    with pytest.raises(DeclarationError, match="is of kind network; it must be of kind gene_table"):
        load_datasets(tmp_path)
    document["cells"]["gene_table"] = "nowhere"
    declare(document)
    with pytest.raises(DeclarationError, match=r"unknown dataset 'nowhere'; known: .*trrust_human"):
        load_datasets(tmp_path)


def test_an_unknown_dataset_names_who_asked():
    with pytest.raises(DeclarationError, match=r"studies/mine.yaml: key `roles.primary_screen`: unknown dataset 'x'"):
        dataset(load_datasets(), "x", "studies/mine.yaml: key `roles.primary_screen`")


def planted(**changes: Any) -> dict[str, Any]:
    spec = load_datasets()["planted_tiny"]
    return yaml.safe_load(spec.file.read_text(encoding="utf-8")) | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data_origin": "real"}, "a planted screen is semi_synthetic"),
        ({"planted": None}, "key `planted`: is missing"),
        ({"base": None}, "key `base`: is missing"),
    ],
)
def test_planted_declarations_are_checked(declare, changes, message):
    with pytest.raises(DeclarationError, match=message):
        declare(planted(**changes))


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"colour": 1}, "key `planted.colour`: is not known here"),
        ({"world": "mars"}, "key `planted`: world = 'mars'"),
        ({"universe_panel": "nowhere"}, "no panel 'nowhere'"),
    ],
)
def test_a_wrong_planted_knob_is_named(declare, knobs, message):
    with pytest.raises(DeclarationError, match=message):
        planted_params(declare(planted(planted=knobs)))


def test_outcomes_without_cells_must_say_where_they_were_measured(declare):
    spec = load_datasets()["perturbqa_k562"]
    document = yaml.safe_load(spec.file.read_text(encoding="utf-8"))
    document.pop("context_mismatch")
    with pytest.raises(DeclarationError, match="key `context_mismatch`: is missing"):
        declare(document)


def test_the_fingerprint_follows_what_can_change_a_result(document, declare):
    before = declare(document).fingerprint()
    assert declare(document | {"title": "renamed", "traps": ["a remark"]}).fingerprint() == before
    document["universe"]["genes"] = 6
    assert declare(document).fingerprint() != before
