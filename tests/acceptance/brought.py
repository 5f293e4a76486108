"""Folders of every transformer family as they are published, small and with random weights, for the acceptance run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from steps import PROJECT, must

sys.path.insert(0, str(PROJECT / "tests" / "unit" / "models"))

from causal_folders import causal_config, save_network, write_c2s
from example_scgpt_folder import args_of, write_scgpt
from full_layout import dictionaries, write_folder, write_pickle

from interp_assets.cells.panels import read_panel

FAMILIES = {
    "brought-v2": "geneformer",
    "brought-scgpt": "scgpt",
    "brought-c2s": "c2s",
    "brought-maxtoki": "maxtoki",
}
LENGTH = 384  # a cut, as on a laptop; most cells express more genes


def unsealed(folder: Path, **_: Any) -> Path:
    """The folder as it is: nobody wrote a manifest."""
    return folder


def write_all(root: Path, mirror: Path) -> dict[str, tuple[str, ...]]:
    """Write one folder a family, without a manifest; what `interp releases add` is told beside each.

    The dictionaries of Geneformer V2 are the published ones, from the data mirror.
    """
    symbols = list(read_panel("small_vocabulary"))
    write_folder(root / "brought-v2", mirror, "V2", num_hidden_layers=3)
    scgpt = write_scgpt(root / "brought-scgpt", symbols, args=args_of(length=LENGTH, layers=3))
    (scgpt / "release.json").unlink()
    write_c2s(root / "brought-c2s", unsealed, names=symbols, max_position_embeddings=LENGTH, num_hidden_layers=3)
    maxtoki = root / "brought-maxtoki"
    maxtoki.mkdir()
    for name, content in dictionaries(mirror, "V2").items():
        write_pickle(maxtoki / name, content)
    save_network(maxtoki, causal_config("llama", 20_275, max_position_embeddings=LENGTH, num_hidden_layers=3))
    return {
        "brought-v2": ("--fact", f"max_length={LENGTH}"),
        "brought-scgpt": (),
        "brought-c2s": ("--fact", "prompt=Genes of a cell, most first: "),
        "brought-maxtoki": ("--family", "maxtoki"),
    }


def names_its_model(folder: Path, family: str) -> None:
    """A verdict, and a report that names family, number format, evaluable genes, the cut and mass on special tokens."""
    verdict = json.loads((folder / "verdict.json").read_text())
    must(verdict["headline"]["state"] in ("refuted", "inconclusive"), f"{folder.name}: {verdict['headline']['state']}")
    facts = pd.read_parquet(folder / "tables" / "model_facts.parquet").set_index(["section", "name"])["value"]
    must(facts["model", "family"] == family, f"{folder.name} was read as {facts['model', 'family']}")
    (read,) = pd.read_parquet(folder / "tables" / "model_reading.parquet").to_dict("records")
    must(read["dtype"] == "float32" and 0 < read["genes_evaluable"] <= read["genes_in_universe"], str(read))
    must(0 < read["truncated_share"] <= 1 and 0 < read["left_out_share"] < 1, f"{folder.name}: the cut is not named")
    page = (folder / "report.html").read_text(encoding="utf-8")
    for said in ("number format", "evaluable", "cut at the longest sequence", "attention on positions without a gene"):
        must(said in page, f"the report of {folder.name} does not say {said!r}")
    mass = sum(read[f"mass_{part}"] for part in ("scored_genes", "unscored_genes", "no_gene"))
    must(abs(mass - 1) < 0.01 and read["mass_no_gene"] > 0, f"{folder.name}: mass {mass}")
