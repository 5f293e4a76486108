"""Time and memory of the extraction on CUDA at the shape of Geneformer V2-316M, with random weights; prints only.

    python -m benchmarks.attention_on_cuda [--dtype bfloat16] [--rounds 7]

Kernels are held against each other first. All ways run interleaved in one process, in an order drawn anew every round,
as ratios to the forward pass of the same round.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.attention_ways import FULL, Readings
from interp_assets.models.attention.settings import ExtractionSettings

FORWARD = "plain forward (sdpa)"


def largest_difference(settings: ExtractionSettings) -> str:
    """How far the kernels' sums over 8 cells of 4 layers lie apart."""
    readings = Readings(replace(FULL, layers=4, cells=8), settings)
    means = {}
    with tempfile.TemporaryDirectory() as folder:
        for kernel in ("gene_order", "auto"):
            run = readings.run("mean", kernel=kernel)
            run.folder = Path(folder) / kernel
            run.run()
            means[run.kernel] = np.load(run.folder / "partial" / "layers" / "layer-3-mean.npy")
    first, *others = means.values()
    largest = max((float(np.abs(first - other).max()) for other in others), default=0.0)
    return f"largest difference of kernels {', '.join(means)} in means over 8 cells: {largest:.2g}"


def ways_on_device(settings: ExtractionSettings) -> dict[str, Callable[[], object]]:
    readings = Readings(FULL, settings)
    ways: dict[str, Callable[[], object]] = {FORWARD: readings.forward}
    for kernel in ("gene_order", "triton"):
        if kernel != "triton" or readings.run("mean").kernel == "triton":
            for told, heads in (("head mean", "mean"), ("every head", "all")):
                ways[f"ours, {told}, {kernel}"] = readings.sums(heads, kernel=kernel)
    return ways


def milliseconds(work: Callable[[], object]) -> float:
    """On the clock of the wall, until the device is done."""
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("this needs a CUDA device, and there is none here")
    settings = ExtractionSettings(device="cuda", dtype=options.dtype, progress=False, batch_tokens=32768)
    print(f"{torch.cuda.get_device_name()}, {options.dtype}; {largest_difference(settings)}")
    torch.cuda.reset_peak_memory_stats()
    ways, rng = ways_on_device(settings), np.random.default_rng(1)
    for way in ways.values():
        way()
    rounds = [{name: milliseconds(ways[name]) for name in rng.permutation(list(ways))} for _ in range(options.rounds)]
    print(f"{FULL.told}; {FULL.cells} cells a round, {options.rounds} rounds")
    for name in ways:
        ratio = np.array([each[name] / each[FORWARD] for each in rounds])
        taken = np.median([each[name] for each in rounds]) / FULL.cells
        spread = f"{np.median(ratio):.2f} [{ratio.min():.2f}-{ratio.max():.2f}]"
        print(f"{name}: {taken:.2f} ms a cell, {spread} forward passes")
    print(f"peak device memory of all ways together {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


if __name__ == "__main__":
    main()
