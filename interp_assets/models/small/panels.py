"""Gene lists of the small releases: scored in the demonstration, scored in the bench screen, known at all.

The lists are committed under ``interp_assets/panels``; this module is how they were made
(``python -m interp_assets.models.small.panels --labels FILE``). No list looks at an outcome: the bench panel
is chosen by which pairs a screen lists and which genes the training cells express, never by what was found.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.cells.datasets import BUILT_IN, load_dataset
from interp_assets.cells.moments import detection
from interp_assets.cells.panels import BUILT_IN as PANELS
from interp_assets.cells.planted_network import draw_universe, gene_moments
from interp_assets.cells.planted_params import PlantedParams
from interp_assets.cells.prepare import normalised_log
from interp_assets.cells.records import PreparedCells
from interp_assets.cells.universe import seurat_dispersion
from interp_assets.edges.references import read_network
from interp_assets.models.small.cells import DonorCells, baron_cells, from_wheel, training_and_held_out

NETWORK_DATASET = "pathway_commons_expression"
DEMO_RECIPE = PlantedParams(network_seed=0, regulator_detection=0.10)
# The vocabulary starts from the universe of a looser rule, so that rarer regulators are known as well.
VOCABULARY_RECIPE = PlantedParams(network_seed=0, regulator_detection=0.05)
MINIMUM_DETECTION = 0.02
BENCH_GENES = 760
BENCH_SHARED_CELLS = 5
VOCABULARY_GENES = 2044  # with four special tokens: 2,048


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPanel:
    """Genes of the bench panel and what of the screen stays evaluable on them."""

    genes: list[str]
    pairs: int
    listed_pairs: int
    perturbations: int
    evaluable_perturbations: int

    def sentence(self) -> str:
        """One line for the log: pairs and perturbations that stay evaluable."""
        return (
            f"{len(self.genes)} genes keep {self.pairs:,} of {self.listed_pairs:,} listed pairs and "
            f"{self.perturbations:,} perturbations, {self.evaluable_perturbations:,} of them with at least 3 "
            "positive and 3 negative pairs"
        )


def regulator_targets(wheels: Path) -> pd.DataFrame:
    """Known pairs (tf, target) of the network that needs no data mirror (Pathway Commons 9), every regulator.

    The planted recipe drops thinly documented regulators itself; the vocabulary has room for them.
    """
    spec = load_dataset(BUILT_IN / f"{NETWORK_DATASET}.yaml")
    if spec.network is None:
        raise ValueError(f"{spec.file}: dataset {spec.id} is no network; the panels need its pairs")
    with TemporaryDirectory() as folder:
        path = from_wheel(NETWORK_DATASET, wheels, Path(folder)).path
        return read_network(replace(spec, network=replace(spec.network, min_targets=1)), path)


def demo_universe(cells: DonorCells, pairs: pd.DataFrame, recipe: PlantedParams = DEMO_RECIPE) -> list[str]:
    """Scored genes of the demonstration, in the order of the cells' genes.

    The universe of the planted screens (1,200 genes, the regulators that will be perturbed forced in; see
    `interp_assets.cells.planted_network.draw_universe`), computed on these cells only.
    """
    moments = gene_moments(_all_control(cells), _everyone(cells))
    return draw_universe(cells.genes, moments, pairs, recipe)[0].tolist()


def _everyone(cells: DonorCells) -> NDArray[np.bool_]:
    return np.ones(cells.names.size, dtype=np.bool_)


def _all_control(cells: DonorCells) -> PreparedCells:
    """The cells as unperturbed cells of a dataset, unfiltered."""
    return PreparedCells(
        dataset="baron_training_donors",
        species="human",
        data_origin="real",
        counts=cells.counts,
        log=normalised_log(cells.counts),
        genes=cells.genes,
        obs=pd.DataFrame({"donor": cells.donors}, index=cells.names),
        control=_everyone(cells),
        cells_hash=cells.cells_sha256,
        universe=cells.genes,
    )


def _regulators_with_most_targets(
    genes: NDArray[np.str_], seen: NDArray[np.float64], pairs: pd.DataFrame, targets: list[str]
) -> list[str]:
    """Detected regulators with enough targets among some genes, most targets first, then by name."""
    rule = VOCABULARY_RECIPE
    detected = genes[seen >= rule.regulator_detection]
    inside = pairs[pairs["tf"].isin(detected) & pairs["target"].isin(targets)]
    count = inside.groupby("tf").size()
    count = count[count >= rule.min_universe_targets].reset_index(name="targets")
    return count.sort_values(["targets", "tf"], ascending=[False, True])["tf"].tolist()


def bench_panel(cells: DonorCells, labels: pd.DataFrame) -> BenchPanel:
    """Genes of a screen that keep most of its listed pairs evaluable.

    A pair can be evaluated when both genes are in the panel, each is detected in at least 2 % of the cells,
    and at least five cells hold both. Starting from every gene of such a pair, the gene with the fewest
    remaining pairs is dropped until the panel has its size. ``labels`` has columns perturbed_gene,
    target_gene and is_de; the last one is only counted afterwards.
    """
    column = {gene: i for i, gene in enumerate(cells.genes.tolist())}
    known = labels[
        labels["perturbed_gene"].isin(column)
        & labels["target_gene"].isin(column)
        & (labels["perturbed_gene"] != labels["target_gene"])
    ].reset_index(drop=True)
    source = known["perturbed_gene"].map(column).to_numpy(np.int64)
    target = known["target_gene"].map(column).to_numpy(np.int64)
    usable = _seen_together(cells, source, target)
    alive = _densest_genes(source[usable], target[usable], cells.genes.size, BENCH_GENES)
    kept = known[usable & alive[source] & alive[target]]
    positives = kept.groupby("perturbed_gene")["is_de"].agg(["sum", "count"])
    evaluable = (positives["sum"] >= 3) & (positives["count"] - positives["sum"] >= 3)
    return BenchPanel(
        genes=cells.genes[alive].tolist(),
        pairs=len(kept),
        listed_pairs=len(labels),
        perturbations=len(positives),
        evaluable_perturbations=int(evaluable.sum()),
    )


def _seen_together(cells: DonorCells, source: NDArray[np.int64], target: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether both genes of each pair are detected often enough, and together in enough cells."""
    seen = detection(cells.counts) >= MINIMUM_DETECTION
    used = np.union1d(source, target)
    present = (cells.counts[:, used] > 0).astype(np.int32)
    together = (present.T @ present).toarray()
    both = together[np.searchsorted(used, source), np.searchsorted(used, target)]
    return seen[source] & seen[target] & (both >= BENCH_SHARED_CELLS)


def _densest_genes(source: NDArray[np.int64], target: NDArray[np.int64], genes: int, wanted: int) -> NDArray[np.bool_]:
    """Mask of the genes left after dropping, one by one, the gene with the fewest remaining pairs."""
    from scipy.sparse import csr_matrix

    pairs = csr_matrix((np.ones(source.size, dtype=np.int64), (source, target)), shape=(genes, genes))
    links = (pairs + pairs.T).tocsr()
    degree = np.asarray(links.sum(axis=1)).ravel()
    alive = degree > 0
    for _ in range(max(0, int(alive.sum()) - wanted)):
        weakest = int(np.where(alive, degree, np.iinfo(np.int64).max).argmin())
        alive[weakest] = False
        row = slice(links.indptr[weakest], links.indptr[weakest + 1])
        degree[links.indices[row]] -= links.data[row]
    return alive


def small_vocabulary(cells: DonorCells, pairs: pd.DataFrame, bench: list[str]) -> list[str]:
    """Genes the small releases know: a planted universe, the bench panel, regulators, highly variable genes.

    Half of the free places go to the regulators with most targets among the genes already chosen, the other
    half to the highest normalised dispersion (scanpy's "seurat"). Order: as in the cells.
    """
    log = normalised_log(cells.counts)
    seen = detection(log)
    chosen = set(demo_universe(cells, pairs, VOCABULARY_RECIPE)) | set(bench)
    free = VOCABULARY_GENES - len(chosen)
    if free < 0:
        raise ValueError(f"universe and bench panel hold {len(chosen)} genes; the vocabulary has {VOCABULARY_GENES}")
    regulators = _regulators_with_most_targets(cells.genes, seen, pairs, sorted(chosen))
    chosen |= set([gene for gene in regulators if gene not in chosen][: free // 2])
    dispersion = np.where(seen >= MINIMUM_DETECTION, np.nan_to_num(seurat_dispersion(log), nan=-np.inf), -np.inf)
    variable = cells.genes[np.argsort(-dispersion, kind="stable")].tolist()
    chosen |= set([gene for gene in variable if gene not in chosen][: VOCABULARY_GENES - len(chosen)])
    return cells.genes[np.isin(cells.genes, sorted(chosen))].tolist()


def build_panels(wheels: Path, labels: Path, folder: Path = PANELS) -> BenchPanel:
    """Write the four panels, one symbol a line, and return what the bench panel keeps evaluable."""
    training, _ = training_and_held_out(baron_cells(wheels))
    pairs = regulator_targets(wheels)
    universe = demo_universe(training, pairs)
    bench = bench_panel(training, pd.read_csv(labels, sep="\t", keep_default_na=False))
    vocabulary, scored = small_vocabulary(training, pairs, bench.genes), set(universe)
    folder.mkdir(parents=True, exist_ok=True)
    for name, genes in (
        ("demo_universe", universe),
        ("layer_selection_genes", [gene for gene in vocabulary if gene not in scored]),
        ("perturbation_genes", bench.genes),
        ("small_vocabulary", vocabulary),
    ):
        (folder / f"{name}.txt").write_text("\n".join(genes) + "\n", encoding="utf-8")
    return bench


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 once the panels are written."""
    parser = argparse.ArgumentParser(description="Write the committed gene lists of the small releases.")
    parser.add_argument("--labels", type=Path, required=True, help="PerturbQA K562 table (perturbed_gene, ...)")
    parser.add_argument("--wheels", type=Path, default=Path(os.environ.get("INTERP_DATA_WHEELS") or "data-wheels"))
    parser.add_argument("--out", type=Path, default=PANELS)
    options = parser.parse_args(arguments)
    try:
        bench = build_panels(options.wheels, options.labels, options.out)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{bench.sentence()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
