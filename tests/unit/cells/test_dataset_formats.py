"""Declarations of guides, cell rules, gene sets, directions, p-values and vocabularies."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from interp_assets.cells.dataset_records import (
    LOCKED,
    GuidesFormat,
    GuideTableFormat,
    KeepRule,
    MirrorSource,
    VocabularyFormat,
)
from interp_assets.cells.datasets import load_datasets
from interp_assets.cells.declared import DeclarationError
from interp_assets.cells.integrity import sha256_of

GUIDES = {"matrix": "obsm/umi", "names": "uns/names", "table": "toy_guides", "min_umi": 3}
GUIDE_TABLE = {"guide": "id", "group": "group", "kind": "kind", "gene": "gene", "kinds": {"tss": "target"}}
VOCABULARY = {
    "format": "tsv",
    "genes": "id",
    "gene_id": "ensembl",
    "gene_table": "gencode44_human",
    "special": ["<pad>"],
}
OUTCOMES = {"perturbation": "parent", "gene": "child", "p": "pvalue", "q": 0.1}
# Files of the mirror that no dataset reads: log values instead of counts with their networks of positions in them,
# pairs that were tested, and dictionaries of names that no tokeniser list needs.
UNREAD = {
    "cells/beeline_mdc_mouse.h5ad",
    "cells/hesc_chen_human.h5ad",
    "cells/mesc_semrau_mouse.h5ad",
    "cells/scode_hesc_to_de_human.h5ad",
    "cells/scode_mesc_to_pre_mouse.h5ad",
    "networks/scode_hesc_to_de_human_reference_tf_tf.txt.gz",
    "networks/scode_mesc_to_pre_mouse_reference_tf_tf.txt.gz",
    "perturb/gasperini19_k562_crispri_highmoi_pairs.tsv.gz",
    *(
        f"models/geneformer_gc{size}M_{what}.tsv.gz"
        for size in (30, 95)
        for what in ("ensembl_mapping", "gene_name_to_id")
    ),
}
NETWORK = {"format": "tsv", "direction": "mode", "activation": ["up"], "repression": ["down"]}


def of_kind(document: dict[str, Any], kind: str, section: dict[str, Any]) -> dict[str, Any]:
    """The toy declaration as another kind, with that kind's own section."""
    general = {key: value for key, value in document.items() if key not in ("cells", "universe")}
    name = {"outcome_only": "outcomes", "gene_sets": "network"}.get(kind, kind)
    screen = {"universe": {"genes": 0, "forced": "screen"}, "base": "baron_pancreas_human", "context_mismatch": "x"}
    return general | {"kind": kind, name: section} | (screen if kind == "outcome_only" else {})


def test_rules_for_cells_are_read(document, declare):
    document["cells"] |= {
        "total_counts": "total",
        "keep": {"share": {"min": 0.6, "max": 1}, "line": ["K562", 3]},
        "orthologs": "ensembl105_human_mouse",
    }
    found = declare(document | {"species": "mouse"}).cells
    assert found.keep == {"share": KeepRule(minimum=0.6, maximum=1), "line": KeepRule(values=("K562", "3"))}
    assert (found.total_counts, found.orthologs) == ("total", "ensembl105_human_mouse")


def test_guides_are_read(document, declare):
    document["cells"] = {"guides": GUIDES}
    assert declare(document).cells.guides == GuidesFormat(
        matrix="obsm/umi", names="uns/names", table="toy_guides", min_umi=3
    )
    document["cells"] = {"guides": {key: value for key, value in GUIDES.items() if key != "min_umi"}}
    assert declare(document).cells.guides.min_umi == 5
    table = declare(of_kind(document, "guide_table", GUIDE_TABLE)).guide_table
    assert table == GuideTableFormat(guide="id", group="group", kind="kind", gene="gene", kinds={"tss": "target"})


def test_vocabularies_p_values_and_gene_sets_are_read(document, declare):
    found = declare(of_kind(document, "vocabulary", VOCABULARY)).vocabulary
    assert found == VocabularyFormat(**VOCABULARY | {"special": ("<pad>",)})
    outcomes = declare(of_kind(document, "outcome_only", OUTCOMES)).outcomes
    assert (outcomes.label, outcomes.p, outcomes.q) == ("", "pvalue", 0.1)
    sets = declare(of_kind(document, "gene_sets", {"format": "gmt", "directed": False, "max_set_size": 9})).network
    assert (sets.format, sets.max_set_size) == ("gmt", 9)
    network = declare(of_kind(document, "network", NETWORK | {"levels": {"confidence": ["A", "B"]}})).network
    assert (network.direction, network.activation, network.repression) == ("mode", ("up",), ("down",))
    assert network.levels == {"confidence": ("A", "B")}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            {"keep": {"share": {"least": 1}}},
            r"key `cells\.keep\.share`: must be a list of values or \{min: x, max: y\}",
        ),
        ({"keep": {"share": []}}, r"key `cells\.keep\.share`"),
        ({"keep": {"share": {}}}, r"key `cells\.keep\.share`"),
        ({"keep": {"share": {"min": "much"}}}, r"key `cells\.keep\.share`"),
        ({"keep": {"share": {"min": True}}}, r"key `cells\.keep\.share`"),
        ({"keep": {"share": 0.6}}, r"key `cells\.keep\.share`"),
        ({"keep": ["share"]}, r"key `cells\.keep`: must be a mapping"),
        ({"orthologs": "ensembl105_human_mouse"}, r"key `cells\.orthologs`: renames .*; `species` is human"),
        ({"total_counts": 3}, r"key `cells\.total_counts`: must be text"),
        ({"control_label": None}, r"key `cells\.control_label`: is missing"),
        ({"guides": GUIDES}, r"key `cells\.guides`: and a `perturbation` column exclude each other"),
    ],
)
def test_a_wrong_rule_for_cells_is_named(document, declare, section, message):
    document["cells"] |= section
    with pytest.raises(DeclarationError, match=message) as caught:
        declare(document)
    assert "toy.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "section", "change", "message"),
    [
        ("guide_table", GUIDE_TABLE, {"kinds": {"tss": "promoter"}}, "key `guide_table.kinds`: must map .* wrong: tss"),
        ("guide_table", GUIDE_TABLE, {"kinds": {}}, "key `guide_table.kinds`"),
        ("guide_table", GUIDE_TABLE, {"gene": None}, "key `guide_table.gene`: is missing"),
        ("guide_table", GUIDE_TABLE, {"colour": "x"}, "key `guide_table.colour`: is not known here"),
        ("vocabulary", VOCABULARY, {"format": "pickle"}, "key `vocabulary.format`: is 'pickle'; allowed: tsv, json"),
        ("vocabulary", VOCABULARY, {"format": "json"}, "key `vocabulary.genes`: names the column of a tsv file"),
        ("vocabulary", VOCABULARY, {"genes": None}, "key `vocabulary.genes`"),
        ("vocabulary", VOCABULARY, {"gene_table": None}, "key `vocabulary.gene_table`: must be given when, and only"),
        ("vocabulary", VOCABULARY, {"gene_id": "symbol"}, "key `vocabulary.gene_table`: must be given when, and only"),
        ("outcome_only", OUTCOMES, {"label": "is_de"}, "key `outcomes.label`: and `p`: .* not both"),
        ("outcome_only", OUTCOMES, {"p": None}, "key `outcomes.label`"),
        ("outcome_only", OUTCOMES, {"p": None, "label": "is_de"}, "key `outcomes.q`: turns p-values into labels"),
        ("outcome_only", OUTCOMES, {"q": 2}, "key `outcomes.q`: must be a number from 0 to 1"),
        ("network", NETWORK, {"activation": None, "repression": None}, "key `network.direction`: needs its words"),
        ("network", NETWORK, {"direction": None}, "key `network.direction`: needs its words"),
        ("network", NETWORK, {"directed": False}, "key `network.direction`: belongs to a directed network"),
        ("network", NETWORK, {"repression": ["up", "down"]}, "key `network.repression`: and `activation` share up"),
        ("network", NETWORK, {"relation": "binds"}, "key `network.relation`: must be given when, and only when"),
        ("network", NETWORK, {"format": "sif"}, "key `network.relation`"),
        (
            "network",
            NETWORK,
            {"levels": {"confidence": "A"}},
            "key `network.levels.confidence`: must be a list of text",
        ),
        ("network", NETWORK, {"levels": {"confidence": []}}, "key `network.levels.confidence`"),
        ("network", NETWORK, {"levels": {"confidence": [1]}}, "key `network.levels.confidence`"),
        (
            "gene_sets",
            {"format": "gmt", "directed": False},
            {"directed": True},
            "key `network.directed`: must be false",
        ),
        (
            "gene_sets",
            {"format": "gmt", "directed": False},
            {"levels": {"x": ["A"]}},
            "key `network.levels`: .* a gmt file lists gene sets",
        ),
        (
            "gene_sets",
            {"format": "gmt", "directed": False},
            {"thresholds": {"x": 1}},
            "key `network.thresholds`: .* a gmt file lists gene sets",
        ),
    ],
)
def test_a_wrong_section_is_named(document, declare, kind, section, change, message):
    changed = {key: value for key, value in (section | change).items() if value is not None}
    with pytest.raises(DeclarationError, match=message) as caught:
        declare(of_kind(document, kind, changed))
    assert "toy.yaml" in str(caught.value)


@pytest.mark.parametrize("change", [{"matrix": "umi"}, {"names": "obsm/names"}, {"matrix": "obsm/"}, {"min_umi": 0}])
def test_a_wrong_place_of_guides_is_named(document, declare, change):
    document["cells"] = {"guides": GUIDES | change}
    with pytest.raises(DeclarationError, match=rf"key `cells\.guides\.{next(iter(change))}`"):
        declare(document)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"guides": GUIDES | {"table": "gencode44_human"}}, r"`cells\.guides\.table`.*it must be of kind guide_table"),
        ({"guides": GUIDES}, r"key `cells\.guides\.table`: unknown dataset 'toy_guides'"),
        ({"orthologs": "trrust_human"}, r"key `cells\.orthologs`: 'trrust_human' is of kind network"),
    ],
)
def test_tables_that_cells_name_are_checked(tmp_path, document, declare, cells, message):
    document["cells"] = cells
    declare(document | {"species": "mouse"})
    with pytest.raises(DeclarationError, match=message):
        load_datasets(tmp_path)


def test_the_gene_table_of_a_vocabulary_is_checked(tmp_path, document, declare):
    declare(of_kind(document, "vocabulary", VOCABULARY | {"gene_table": "trrust_human"}))
    with pytest.raises(DeclarationError, match=r"key `vocabulary\.gene_table`: 'trrust_human' is of kind network"):
        load_datasets(tmp_path)


def test_rules_change_the_fingerprint(document, declare):
    document["species"] = "mouse"
    prints = {declare(document).fingerprint()}
    for change in ({"total_counts": "t"}, {"keep": {"x": ["a"]}}, {"keep": {"x": ["b"]}}, {"orthologs": "o"}):
        prints.add(declare(document | {"cells": document["cells"] | change}).fingerprint())
    assert len(prints) == 5


def test_every_screen_and_network_is_explained():
    """A reader of a declaration learns what to beware of and where the file was published."""
    for spec in load_datasets().values():
        assert spec.traps, spec.id
        assert yaml.safe_load(spec.file.read_text(encoding="utf-8"))["id"] == spec.file.stem
        if spec.kind not in ("planted", "simulated", "gene_table"):
            assert {"url", "package"} & set(spec.provenance), spec.id


@pytest.mark.mirror
def test_declared_files_are_those_of_the_mirror(data_mirror):
    listed = {
        path: (int(size), digest)
        for path, size, digest in (
            line.split("\t") for line in (data_mirror / "manifest.tsv").read_text().splitlines()[1:]
        )
    }
    declared = {
        source.path: (source.size, source.sha256)
        for spec in load_datasets().values()
        for source in spec.sources
        if isinstance(source, MirrorSource) and source.sha256 != LOCKED  # a file that its user supplies
    }
    assert declared.items() <= listed.items()
    for path, (size, digest) in declared.items():
        assert (data_mirror / path).stat().st_size == size
        assert sha256_of(data_mirror / path) == digest
    assert {path for path in listed if path not in declared} == UNREAD
