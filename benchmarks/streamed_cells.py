"""Memory of what happens to counts before a model runs: hashed for the key, encoded, coverage counted.

Once with counts read from an h5ad file by rows, once with the matrix in memory; each number of cells in a process of
its own. Prints the traced peak (numpy and Python), the tokens that are kept, what remains beside them, and the peak of
the whole process, which also holds what C libraries take. The file is made up: Poisson counts of genes of a shipped
release and of others that it does not know. ``GROWTHS`` go to a million cells of fewer genes.

    python -m benchmarks.streamed_cells [--cells 2048] [--times 1 4 16] [--genes 20000] [--expressed 1000]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks.growth import Growth
from interp_assets.cells.count_sources import BackedCounts, CountSource, HeldCounts, add_content, blocks
from interp_assets.models.adapter import load_model
from interp_assets.models.attention.encoded_blocks import encode_blocks
from interp_assets.models.files.releases import read_release

RELEASE = Path(__file__).parents[1] / "releases" / "geneformer-small-4k"
MIB = 2**20
# Cells of the growth curves: few expressed genes each, so that a million is read in a minute.
GENES, EXPRESSED = 2000, 32


def write_cells(path: Path, cells: int, genes: int, expressed: int, compression: str | None = "gzip") -> None:
    """CSR matrix in h5ad layout, written by rows; every cell expresses one gene of each of ``expressed`` groups."""
    rng, width = np.random.default_rng(0), genes // expressed
    with h5py.File(path, "w") as file:
        group = file.create_group("X")
        group.attrs["encoding-type"], group.attrs["shape"] = "csr_matrix", (cells, genes)
        group["indptr"] = np.arange(cells + 1, dtype=np.int64) * expressed
        kinds = {"indices": np.int32, "data": np.float32}
        size = cells * expressed
        stored = {"chunks": (min(65536, size),), "compression": compression}
        arrays = {name: group.create_dataset(name, size, kind, **stored) for name, kind in kinds.items()}
        for start in range(0, cells, 512):
            rows = min(512, cells - start)
            span = slice(start * expressed, (start + rows) * expressed)
            columns = rng.integers(0, width, (rows, expressed)) + np.arange(expressed) * width
            arrays["indices"][span] = columns.ravel()
            arrays["data"][span] = 1 + rng.poisson(1.0, rows * expressed)


def names_of(genes: int) -> np.ndarray:
    """Names of the columns: genes of the release, half of the columns at most, among others that it does not know."""
    words = json.loads((RELEASE / "token_dictionary.json").read_text())
    known = [gene for gene in words if not gene.startswith("<")][: genes // 2]
    names = np.array([f"unknown-{number}" for number in range(genes)])
    names[np.linspace(0, genes - 1, len(known)).astype(np.int64)] = known
    return names


def read_by_rows(cells: int, *, keep: bool) -> Callable[[], None]:
    """What happens to counts in a file before a model runs; tokens of a block are dropped, or all are kept."""
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name) / "cells.h5ad"
    write_cells(path, cells, GENES, EXPRESSED, compression=None)
    model, names = load_model(read_release(RELEASE)), names_of(GENES)

    def run() -> None:
        with folder, BackedCounts(path) as counts:
            add_content(sha256(), counts)
            if keep:
                encode_blocks(model, counts, names)
                return
            known = model.known(names)
            for block in blocks(counts):
                model.encode(block, names)
                known[block.indices].sum()

    return run


def measured(path: Path, way: str) -> dict[str, Any]:
    """Peaks of one way in this process, and a hash of the tokens."""
    model = load_model(read_release(RELEASE))
    with BackedCounts(path) as counts:
        names = names_of(counts.shape[1])
        started = time.perf_counter()
        tracemalloc.start()
        source: CountSource = counts
        if way == "held":
            source = HeldCounts(counts.rows(0, counts.shape[0]), np.arange(counts.shape[0]))
        digest = sha256()
        add_content(digest, source)
        encoded = encode_blocks(model, source, names)
        known_counts = sum(int(model.known(names)[rows.indices].sum()) for rows in blocks(source))
        peak = tracemalloc.get_traced_memory()[1]
    digest.update(encoded.tokens.data)
    digest.update(str(known_counts).encode())
    kept = encoded.tokens.nbytes + encoded.column.nbytes + encoded.offsets.nbytes + encoded.offsets.nbytes
    return {
        "peak": peak / MIB,
        "tokens": kept / MIB,
        "process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "seconds": time.perf_counter() - started,
        "content": digest.hexdigest(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=2048)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--expressed", type=int, default=1000)
    parser.add_argument("--one", nargs=2, metavar=("FILE", "WAY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(Path(options.one[0]), options.one[1])))
        return
    print("| cells | counts | peak MiB | tokens kept MiB | beside them MiB | process MiB | seconds |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for times in options.times:
            cells, contents = options.cells * times, set()
            path = Path(folder) / "cells.h5ad"
            write_cells(path, cells, options.genes, options.expressed)
            for way in ("by rows", "held"):
                done = subprocess.run(
                    [sys.executable, "-m", "benchmarks.streamed_cells", "--one", path, way],
                    capture_output=True,
                    text=True,
                    check=True,
                )
                row = json.loads(done.stdout.splitlines()[-1])
                contents.add(row["content"])
                beside = row["peak"] - row["tokens"]
                print(
                    f"| {cells} | {way} | {row['peak']:.0f} | {row['tokens']:.1f} | {beside:.0f} | "
                    f"{row['process']:.0f} | {row['seconds']:.0f} |",
                    flush=True,
                )
            if len(contents) != 1:
                raise SystemExit("the two ways gave other tokens or another key")


GROWTHS = (
    Growth(
        path="cells read by rows: key, encoding, coverage",
        of="cells",
        sizes=(10_000, 100_000, 1_000_000),
        work=partial(read_by_rows, keep=False),
        promise=f"{EXPRESSED} expressed of {GENES:,} genes, tokens dropped block by block: memory is one block, and 24 "
        "bytes a cell (rows of the file, lengths).",
    ),
    Growth(
        path="cells read by rows, tokens kept",
        of="cells",
        sizes=(10_000, 100_000, 1_000_000),
        work=partial(read_by_rows, keep=True),
        promise="What an extraction plans with: tokens and their columns in memory up to 64 MiB each, beyond that in a "
        "file; 24 bytes a cell.",
    ),
)


if __name__ == "__main__":
    main()
