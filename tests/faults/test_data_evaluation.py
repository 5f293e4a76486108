"""A whole evaluation of hostile names: of a model that attends to everything alike, and one with a broken head."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import dagster as dg
import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.torch import load_file, save_file

from interp_assets.cli import main as interp
from interp_assets.definitions import build_definitions
from interp_assets.evaluate import Evaluator, Progress, dagster_instance
from interp_assets.layout import CONTROLS, Layout, read_layout
from interp_assets.settings import PACKAGE
from qc_standards.cli import main as gate
from qc_standards.gate import check_folder
from qc_standards.records import Outcome, VerdictState
from tests.faults.hostile_names import COMMANDS, LETTERS, MARKUP, MISSING, PATHS, VALUES
from tests.faults.small_world import World, drawn_screen
from tests.unit.models.conftest import save_bert, seal

EVIL = "<script>alert(1)</script> [x](javascript:alert(1)) | `a`"
PERTURBED = (*MISSING[:3], VALUES[2], PATHS[1], MARKUP[0], MARKUP[3], MARKUP[6], COMMANDS[0], LETTERS[1])
GENES = (
    *PERTURBED,
    *MISSING[4:7],
    *MARKUP[1:3],
    COMMANDS[1],
    LETTERS[3],
    LETTERS[4],
    LETTERS[9],
    *(f"G{i}" for i in range(16)),
)
STUDY = "odd"
BROKEN, EVEN = "odd-broken", "odd-even"
# As few draws as the analyses accept: what is looked at here are names and states.
FEWEST = {
    "bootstrap": 20,
    "folds": 3,
    "boosting": {"iterations": 4},
    "label_shuffles": 20,
    "curveball_networks": 10,
    "power_simulations": 2,
    "min_perturbations": 6,
    "random_head_sets": 2,
    "intervention_tokens": 600,
    "size_matched_draws": 10,
    "regulator_bootstrap": 20,
    "simulated_circuits": 10,
    "detectability_draws": 100,
    "balance_draws": 5,
    "agreement_bootstrap": 50,
    "deletion_cells": 3,
    "mantel_permutations": 50,
    "scaling_seeds": 3,
    "scaling_bootstrap": 50,
    "composition_runs": 6,
    "composition_permutations": 50,
    "recovery_bootstrap": 50,
    "cssi_draws": 5,
    "cssi_attention_draws": 3,
    "context_bootstrap": 50,
    "mediation_cells": 6,
    "mediation_bootstrap": 50,
    "pairwise_bootstrap": 50,
    "ceiling_draws": 3,
    "stability_repeats": 3,
    "tissue_bootstrap": 50,
    "tissue_permutations": 50,
    "regulator_permutations": 50,
    "random_pair_sets": 20,
    "value_cells": 40,
    "value_flips": 20,
}


@dataclass(frozen=True)
class Evaluated:
    """One store after its evaluation."""

    layout: Layout
    instance: dg.DagsterInstance
    progress: Progress

    def folder(self, name: str) -> Path:
        return self.layout.folders.store / STUDY / name


def write_world(world: World) -> None:
    """A screen, a network and a study whose every free text is hostile."""
    screen = drawn_screen(GENES, PERTURBED, 0, controls=80, each=20)
    rng = np.random.default_rng(1)
    screen.obs |= {
        name: rng.choice(np.array(["NA", EVIL], dtype=object), len(screen.cells)) for name in ("donor", "kind")
    }
    screen.cells = [f"{EVIL} {number}" for number in range(len(screen.cells))]
    screen.counts += 1  # every cell holds every gene: no pair is held by more cells than another
    screen.written(world.root / "mirror" / "screen.h5ad")
    pairs = [(one, other) for one in PERTURBED for other in GENES if one != other and rng.random() < 0.25]
    frame = pd.DataFrame(pairs, columns=["tf", "target"])
    frame.to_csv(world.root / "mirror" / "net.tsv", sep="\t", index=False)
    evil = {
        "title": EVIL,
        "licence": EVIL,
        "provenance": {"study": EVIL, "url": "javascript:alert(1)"},
        "traps": [EVIL],
    }
    columns = {"obs": {"perturbation": ["guide"], "donor": ["donor"], "cell_type": ["kind"]}}
    world.declare_cells("screen", cells=columns, universe={"forced": "perturbed", "genes": len(GENES)}, **evil)
    world.declare("net", "net.tsv", "network", network={"format": "tsv"}, **evil)
    tiny = yaml.safe_load((PACKAGE / "studies" / "tiny.yaml").read_text(encoding="utf-8"))
    study = {
        "title": f"{EVIL}\n{EVIL}",
        "primary_reference": "net",
        "roles": {"primary_screen": {"dataset": "screen", "role_fit": "partial", "note": EVIL}},
        "battery": {**tiny["battery"], **FEWEST},
    }
    (world.root / "config" / "studies" / f"{STUDY}.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")


def write_release(folder: Path, queries: dict[int, float] | None = None) -> None:
    """A model of one layer's heads by number whose query weights are all one value."""
    folder.mkdir()
    tokens = {name: number for number, name in enumerate(("<pad>", "<mask>", "<cls>", "<eos>", *GENES))}
    (folder / "token_dictionary.json").write_text(json.dumps(tokens))
    medians = {gene: 1.0 + number / 100 for number, gene in enumerate(GENES)}
    (folder / "gene_median_dictionary.json").write_text(json.dumps(medians))
    save_bert(folder, len(tokens), 3.0, len(folder.name), max_position_embeddings=64)
    state = load_file(folder / "model.safetensors")
    for head, value in (queries or {}).items():
        for layer in range(2):
            for part in ("weight", "bias"):
                state[f"bert.encoder.layer.{layer}.attention.self.query.{part}"][head * 8 : head * 8 + 8] = value
    save_file(state, folder / "model.safetensors")
    seal(folder, training_data=EVIL, source=EVIL)


@pytest.fixture(scope="module")
def evaluated(memory: Path) -> Iterator[Evaluated]:
    world = World(memory / "hostile")
    write_world(world)
    write_release(world.root / "releases" / BROKEN, {2: np.nan})
    write_release(world.root / "releases" / EVEN, dict.fromkeys(range(4), 0.0))
    with pytest.MonkeyPatch.context() as patch:
        world.described(patch)
        patch.setenv("INTERP_STUDIES", STUDY)
        patch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
        patch.setenv("GX_ANALYTICS_ENABLED", "False")
        layout = read_layout()
        with dagster_instance(layout) as instance:
            evaluator = Evaluator(build_definitions(layout), layout, instance)
            yield Evaluated(layout, instance, evaluator.evaluate(STUDY, [BROKEN, EVEN]))


def test_a_broken_head_is_named_and_stops_nobody_else(evaluated, tally) -> None:
    assert list(evaluated.progress.failed) == [BROKEN]
    told = evaluated.progress.failed[BROKEN]
    assert told.startswith("attention: ")
    assert f"release {BROKEN}, dataset screen: layer 0, head 2: attention is NaN or infinite" in told
    folder = evaluated.folder(BROKEN)
    assert not (folder / "verdict.json").exists()
    assert gate(["check", str(folder)]) == 2
    board = pd.read_parquet(evaluated.layout.folders.store / "leaderboard.parquet")
    assert BROKEN not in set(board["release"])
    assert {EVEN, *CONTROLS} <= set(board["release"])
    tally("fault", "an evaluation of a model with a broken head", "refused")


def test_equal_attention_passes_no_criterion(evaluated, tally) -> None:
    judgement = check_folder(evaluated.folder(EVEN))
    assert judgement.verdicts[judgement.headline].state is not VerdictState.SUPPORTED
    assert not [name for name, criterion in judgement.criteria.items() if criterion.outcome is Outcome.PASS]
    assert gate(["check", str(evaluated.folder(EVEN))]) != 0
    aurocs = pd.read_parquet(evaluated.folder(EVEN) / "tables" / "perturbation_auroc.parquet")
    assert set(aurocs[aurocs["score"] == "attention"]["auroc"]) == {0.5}
    tally("fault", "an evaluation of a model that attends to everything alike")


def test_hostile_names_clear_nothing(evaluated, tally) -> None:
    assert not [verdict.claim for verdict in check_folder(evaluated.folder(EVEN)).verdicts.values() if verdict.cleared]
    for name in (EVEN, *CONTROLS):
        judgement = check_folder(evaluated.folder(name))
        assert judgement.verdicts[judgement.headline].state is not VerdictState.SUPPORTED
        assert gate(["check", str(evaluated.folder(name))]) != 0
        tally("fault", "an evaluation of hostile names")


def test_tables_hold_the_names_as_they_are(evaluated, tally) -> None:
    seen = set()
    for path in sorted(evaluated.folder(EVEN).rglob("*.parquet")):
        frame = pd.read_parquet(path)
        for column in {"perturbation", "regulator", "target", "gene", "tf", "source"} & set(frame):
            words = {word for word in frame[column] if isinstance(word, str)}
            if words & set(GENES):
                assert words <= {*GENES, ""}, f"{path.name}: {column}"
                assert not frame[column].isna().any(), f"{path.name}: {column}"
                seen |= words
    assert set(PERTURBED) <= seen
    tally("fault", "hostile names in stored tables", times=len(seen))


def test_csv_files_say_what_their_parquet_files_say(evaluated) -> None:
    for path in (evaluated.folder(EVEN) / "tests.csv", evaluated.folder(EVEN) / "extended.csv"):
        stored = pd.read_parquet(path.with_suffix(".parquet"))
        read = pd.read_csv(path, dtype=str, keep_default_na=False)
        assert list(read) == list(stored)
        for column in stored.select_dtypes(object):
            assert read[column].tolist() == stored[column].fillna("").astype(str).tolist(), column


class Elements(HTMLParser):
    """Start tags with their attributes, and the text outside of scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.inside = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside not in ("script", "style"):
            self.words.append(data)


def acting(page: Elements) -> list[Any]:
    """Elements that could act: scripts beyond the page's own, handlers, addresses that run something."""
    found: list[Any] = [
        (tag, name, value)
        for tag, attributes in page.tags
        for name, value in attributes.items()
        if name.startswith("on") or re.match(r"\s*(javascript|vbscript|data:text)", value or "", re.IGNORECASE)
    ]
    return found + [tag for tag, _ in page.tags if tag in ("iframe", "object", "embed", "base", "form")]


def test_pages_show_hostile_names_as_text(evaluated, walk, tally) -> None:
    store = evaluated.layout.folders.store
    bare = Elements((evaluated.folder(CONTROLS[1]) / "report.html").read_text(encoding="utf-8"))
    own = sum(tag == "script" for tag, _ in bare.tags)
    for path in (evaluated.folder(EVEN) / "report.html", store / "index.html"):
        page = Elements(path.read_text(encoding="utf-8"))
        assert acting(page) == [], path
        assert sum(tag == "script" for tag, _ in page.tags) <= max(own, 3), path
        assert not [attributes for tag, attributes in page.tags if tag == "img" and attributes.get("src") == "x"]
    html = (evaluated.folder(EVEN) / "report.html").read_text(encoding="utf-8")
    (block,) = re.findall(r"<script[^>]*explorer-data[^>]*>(.*?)</script>", html, re.DOTALL)
    assert {regulator["name"] for regulator in json.loads(block)["regulators"]} == set(PERTURBED)
    assert EVIL in " ".join(Elements(html).words)
    assert walk.faults_of(evaluated.folder(EVEN)) == []
    tally("fault", "hostile names in pages", times=2 * len(PERTURBED))


def test_drawings_hold_no_element_that_acts(evaluated, tally) -> None:
    drawings = sorted(evaluated.folder(EVEN).rglob("*.svg"))
    assert drawings
    for path in drawings:
        for element in ElementTree.parse(path).iter():
            assert element.tag.rpartition("}")[2] not in ("script", "foreignObject"), path
            assert not [name for name in element.attrib if name.rpartition("}")[2].startswith("on")], path
    tally("fault", "hostile names in drawings", times=len(drawings))


MARKUP_ALIVE = re.compile(r"(?<!\\)<(script|img|b>)|(?<!\\)\]\((?!data:image/png)")


def test_dagster_shows_hostile_names_as_text(evaluated, tally) -> None:
    texts = []
    for key in evaluated.instance.all_asset_keys():
        for record in evaluated.instance.fetch_materializations(key, limit=100).records:
            shown = record.asset_materialization.metadata
            texts += [value.md_str for value in shown.values() if isinstance(value, dg.MarkdownMetadataValue)]
    definitions = build_definitions(evaluated.layout).resolve_asset_graph()
    texts += [node.description or "" for node in definitions.asset_nodes]
    assert any("alert" in text for text in texts), "no hostile text was met"
    alive = [text[:300] for text in texts if MARKUP_ALIVE.search(text)]
    assert alive == []
    tally("fault", "hostile names in Dagster metadata", times=len(texts))


def test_documents_hold_hostile_names_as_text(evaluated, tmp_path, capsys, tally) -> None:
    page = tmp_path / "screens.md"
    assert interp(["export", "screens", "--study", STUDY, "--to", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert not MARKUP_ALIVE.search(text)
    tally("fault", "hostile names in documents")


def test_nothing_is_written_beside_the_store(evaluated) -> None:
    root = evaluated.layout.folders.store.parent
    assert {path.name for path in root.iterdir()} == {"store", "mirror", "releases", "wheels", "config"}
    assert not list(root.rglob("up"))
    for path in evaluated.layout.folders.store.rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))
