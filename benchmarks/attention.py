"""What reading attention costs beside the forward pass alone, and beside what is done today.

Prints, in one run, time and peak memory of: the plain fused forward pass; this project's extraction, head-resolved and
head-mean; eager ``output_attentions`` with a straightforward gene mapping, a cell at a time; and the list of per-cell
attention that notebooks keep and map at the end. Times of one size come from one process, all ways interleaved in an
order drawn anew every round, as ratios to the forward pass of the same round: timings of different processes, and of a
baseline that runs first, do not compare. Peak memory is that of a process of its own for every way and number of cells.

    python benchmarks/attention.py [--sizes i ii iv] [--rounds 7] [--threads 2] [--write docs/performance.md]
    python benchmarks/attention.py --full-size [--dtype bfloat16]     # V2-316M shape, on CUDA only
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertModel

from interp_assets.models.adapter import EncodedCells, LayerSink, ModelFacts, TokenBatch
from interp_assets.models.attention.extraction import _full_precision, _thread_limits
from interp_assets.models.attention.kernel import available_forms, register_streaming, streaming
from interp_assets.models.attention.plan import plan_batches, score_cells, token_batch
from interp_assets.models.attention.run import ExtractionRun
from interp_assets.models.attention.settings import ExtractionSettings
from interp_assets.models.attention.sums import ShardSums
from interp_assets.models.families.bert_blocks import BertBlocks, device_tokens, use_form

FORWARD, HEADS, MEAN = "plain forward (sdpa)", "ours, every head", "ours, head mean"
PASSES = "ours, every head, half the memory"
EAGER, LISTED = "eager outputs, mapped cell by cell", "eager outputs, list of cells, mapped at the end"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Size:
    """A model and cells; ``goals`` are the largest wanted ratios to the forward pass, every head and head mean."""

    layers: int
    heads: int
    width: int
    tokens: tuple[int, int]
    genes: int
    scored: float
    cells: int
    goals: tuple[float, float]
    inner: int = 2
    memory_cells: int = 8

    @property
    def told(self) -> str:
        low, high = self.tokens
        span = str(high) if low == high else f"{low}-{high}"
        share = "all tokens scored" if self.scored == 1 else f"{self.scored:.0%} of tokens scored"
        return f"{self.layers} layers x {self.heads} heads x {self.width}, {span} tokens, {share}, {self.genes} genes"


SMALL = Size(
    layers=6, heads=4, width=256, tokens=(320, 512), genes=2000, scored=1.0, cells=8, goals=(1.6, 1.3)
)  # fmt: skip
LONG = replace(
    SMALL, layers=12, heads=8, width=512, tokens=(1024, 2000), cells=2, goals=(1.9, 1.5), memory_cells=2
)  # fmt: skip
SIZES = {
    "i": SMALL,
    "ii": replace(SMALL, scored=0.4, goals=(1.2, 1.1)),
    "iii": LONG,
    "iii-40": replace(LONG, scored=0.4, goals=(1.2, 1.1)),
    "iv": Size(
        layers=4, heads=4, width=128, tokens=(128, 128), genes=1200, scored=1.0, cells=32, goals=(1.9, 1.5),
        memory_cells=32,
    ),
    # Geneformer V2-316M
    "full": Size(
        layers=18, heads=18, width=1152, inner=4, tokens=(2048, 2048), genes=2000, scored=0.9, cells=16,
        goals=(1.4, 1.4),
    ),
}  # fmt: skip


class BertUnderTest:
    """A random BERT encoder as the extraction sees a model."""

    def __init__(self, size: Size, device: str, dtype: str) -> None:
        config = BertConfig(
            vocab_size=2 * size.genes + 4, hidden_size=size.width, num_hidden_layers=size.layers, hidden_act="relu",
            num_attention_heads=size.heads, intermediate_size=size.inner * size.width,
            max_position_embeddings=size.tokens[1],
        )  # fmt: skip
        torch.manual_seed(0)
        self.bert = BertModel(config, add_pooling_layer=False).eval().to(device, getattr(torch, dtype))
        register_streaming()
        self._facts = ModelFacts(
            family="geneformer", layers=size.layers, heads=size.heads, width=size.width, vocabulary=config.vocab_size,
            max_length=size.tokens[1], direction="bidirectional", attention="softmax", forms=available_forms(device),
            dtype=dtype, device=device, gene_key="symbol",
        )  # fmt: skip

    def describe(self) -> ModelFacts:
        return self._facts

    def attend(self, batch: TokenBatch, sink: LayerSink, *, form: str) -> None:
        use_form(self.bert, form)
        tokens, valid = device_tokens(batch, self._facts.device)
        with torch.inference_mode(), streaming(sink):
            self.bert(input_ids=tokens, attention_mask=valid)

    def blocks(self, batch: TokenBatch, *, form: str) -> BertBlocks:
        return BertBlocks(self.bert, batch, form, self._facts.device)

    # the rest of what an `InterventionModel` has; nothing here calls it
    known = encode = intervening = output = gene_tokens = None

    def forward(self, batch: TokenBatch) -> None:
        self.bert.set_attn_implementation("sdpa")
        tokens, valid = device_tokens(batch, self._facts.device)
        self.bert(input_ids=tokens, attention_mask=valid if batch.padded else None)

    def eager(self, tokens: np.ndarray) -> tuple[torch.Tensor, ...]:
        self.bert.set_attn_implementation("eager")
        return self.bert(input_ids=torch.from_numpy(tokens.astype(np.int64))[None], output_attentions=True).attentions


def random_cells(size: Size, cells: int) -> EncodedCells:
    """Cells between two special tokens; token = gene + 4, the scored genes come first in the dictionary."""
    rng = np.random.default_rng(0)
    rows = []
    for inside in rng.integers(size.tokens[0], size.tokens[1] + 1, cells) - 2:
        scored = min(size.genes, round(inside * size.scored))
        others = size.genes + rng.permutation(size.genes)[: inside - scored]
        own = rng.permutation(np.concatenate([rng.permutation(size.genes)[:scored], others]))
        rows.append(np.concatenate([[-1], own, [-1]]))
    column = np.concatenate(rows).astype(np.int32)
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return EncodedCells(tokens=np.where(column < 0, 2, column + 4).astype(np.int32), column=column, offsets=offsets)


class Ways:
    """Every way over the same cells; each call reads all of them once."""

    def __init__(self, size: Size, cells: int, settings: ExtractionSettings) -> None:
        self.size, self.settings = size, settings
        self.model = BertUnderTest(size, settings.device, settings.dtype)
        self.encoded = random_cells(size, cells)
        self.cells = score_cells(self.encoded, np.arange(size.genes))
        self.plan = plan_batches(self.cells, settings.batch_tokens, 10**9)

    def forward(self) -> None:
        for batch in self.plan.batches:
            self.model.forward(token_batch(self.cells, batch))

    def run(self, heads: str, **changes: Any) -> ExtractionRun:
        settings = replace(self.settings, heads=heads, memory_budget_gib=1e3, **changes)
        return ExtractionRun(
            model=self.model, cells=self.cells, settings=settings, folder=Path(), key="", label="benchmark"
        )

    def ours(self, heads: str, **changes: Any) -> Callable[[], None]:
        """The extraction batch by batch, without files; its sums are made once, as in a run over many cells."""
        run = self.run(heads, **changes)
        layers = range(self.size.layers)
        sums = ShardSums(run.sums.shape(layers), self.settings.device)

        def way() -> None:
            for batch in self.plan.batches:
                run._add(batch, sums, layers)

        return way

    def stored(self, heads: str, budget_gib: float = 1e3) -> None:
        """The extraction with its files, as a run does it."""
        settings = replace(self.settings, heads=heads, memory_budget_gib=budget_gib, cells_per_shard=4)
        with tempfile.TemporaryDirectory() as folder:
            ExtractionRun(
                model=self.model, cells=self.cells, settings=settings, folder=Path(folder), key="", label="benchmark"
            ).run()

    def eager(self) -> None:
        """Every cell's outputs, mapped to genes and dropped."""
        sums = self._empty()
        for cell in range(self.encoded.offsets.size - 1):
            self._map(sums, cell, [weights[0].numpy() for weights in self._outputs(cell)])

    def listed(self) -> None:
        """Every cell's outputs kept in a list, mapped at the end."""
        kept = [
            [weights[0].numpy() for weights in self._outputs(cell)] for cell in range(self.encoded.offsets.size - 1)
        ]
        sums = self._empty()
        for cell, layers in enumerate(kept):
            self._map(sums, cell, layers)

    def _empty(self) -> np.ndarray:
        return np.zeros((self.size.layers, self.size.heads, self.size.genes, self.size.genes), dtype=np.float32)

    def _span(self, cell: int) -> slice:
        return slice(self.encoded.offsets[cell], self.encoded.offsets[cell + 1])

    def _outputs(self, cell: int) -> tuple[torch.Tensor, ...]:
        return self.model.eager(self.encoded.tokens[self._span(cell)])

    def _map(self, sums: np.ndarray, cell: int, layers: list[np.ndarray]) -> None:
        column = self.encoded.column[self._span(cell)]
        where = np.flatnonzero((column >= 0) & (column < self.size.genes))
        for layer, weights in enumerate(layers):
            sums[layer][:, column[where][:, None], column[where]] += weights[:, where[:, None], where]

    def once(self, way: str) -> None:
        """One complete run of a way, for its memory."""
        half = 4 * self.size.layers * self.size.heads * self.size.genes**2 / 2**31
        {
            FORWARD: self.forward,
            HEADS: lambda: self.stored("all"),
            PASSES: lambda: self.stored("all", half),
            MEAN: lambda: self.stored("mean"),
            EAGER: self.eager,
            LISTED: self.listed,
        }[way]()


def kept_bytes(size: Size, cells: int) -> float:
    """What the list of per-cell attention holds."""
    return 4.0 * cells * size.layers * size.heads * np.mean(np.square(size.tokens))


def timed(size: Size, options: argparse.Namespace) -> dict[str, np.ndarray]:
    """Milliseconds a cell of every way, one column a round."""
    settings = settings_of(options)
    ways = Ways(size, size.cells, settings)
    table: dict[str, Callable[[], None]] = {FORWARD: ways.forward}
    if settings.device == "cuda":
        for kernel in ("gene_order", "triton"):
            if kernel != "triton" or ways.run("mean").kernel == "triton":
                table |= {
                    f"{way}, {kernel}": ways.ours(heads, kernel=kernel)
                    for way, heads in ((MEAN, "mean"), (HEADS, "all"))
                }
    else:
        table |= {HEADS: ways.ours("all"), MEAN: ways.ours("mean"), EAGER: ways.eager}
        if kept_bytes(size, size.cells) < 2**31:
            table[LISTED] = ways.listed
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    found: dict[str, list[float]] = {name: [] for name in table}
    rng = np.random.default_rng(1)
    for way in table.values():
        way()
    for _ in range(options.rounds):
        for name in rng.permutation(list(table)):
            start = clock()
            table[name]()
            if settings.device == "cuda":
                torch.cuda.synchronize()
            found[name].append(1000 * (clock() - start) / size.cells)
    return {name: np.array(values) for name, values in found.items()}


def peak_memory(name: str, way: str, cells: int, options: argparse.Namespace) -> float | None:
    """MiB that a process holds beyond the loaded model while a way runs over some cells; None if too much."""
    if way == LISTED and kept_bytes(SIZES[name], cells) > options.most_gib * 2**30:
        return None
    command = [sys.executable, __file__, "--measure", way, "--sizes", name, "--cells", str(cells)]
    command += ["--threads", str(options.threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1])["mib"])


def measure(name: str, way: str, cells: int, options: argparse.Namespace) -> float:
    """MiB of the highest resident set beyond that before the run; kernels are compiled before."""
    small = replace(SIZES[name], genes=64, tokens=(40, 40), layers=2)
    Ways(small, 4, settings_of(options)).once(way)
    ways = Ways(SIZES[name], cells, settings_of(options))
    Path("/proc/self/clear_refs").write_text("5")  # the highest resident set starts anew
    before = resident("VmRSS")
    ways.once(way)
    return (resident("VmHWM") - before) / MIB


def resident(what: str) -> float:
    """Bytes of a line of the process's status (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith(what))


def settings_of(options: argparse.Namespace) -> ExtractionSettings:
    device = "cuda" if options.full_size else "cpu"
    tokens = 32768 if options.full_size else 2048
    return ExtractionSettings(device=device, dtype=options.dtype, progress=False, batch_tokens=tokens)


def time_table(name: str, options: argparse.Namespace) -> list[str]:
    size = SIZES[name]
    found = timed(size, options)
    lines = [
        f"**({name})** {size.told}; {size.cells} cells a round, {options.rounds} rounds, {options.clock} time",
        "",
        "| way | ms a cell | ratio to forward, median [range] | goal |",
        "|---|---|---|---|",
    ]
    for way, own in found.items():
        ratio = own / found[FORWARD]
        goal = next((size.goals[place] for place, ours in enumerate((HEADS, MEAN)) if way.startswith(ours)), None)
        verdict = "" if goal is None else f"{goal}: {'met' if np.median(ratio) <= goal else 'not met'}"
        spread = f"{np.median(ratio):.2f} [{ratio.min():.2f}-{ratio.max():.2f}]"
        lines.append(f"| {way} | {np.median(own):.2f} | {spread} | {verdict} |")
    return [*lines, ""]


def memory_table(name: str, options: argparse.Namespace) -> list[str]:
    size = SIZES[name]
    counts = (size.memory_cells, 4 * size.memory_cells)
    lines = [
        f"({name}) Peak memory beyond the loaded model, MiB; the sums of every head are "
        f"{4 * size.layers * size.heads * size.genes**2 / MIB:.0f} MiB, those of the head mean "
        f"{4 * size.layers * size.genes**2 / MIB:.0f} MiB:",
        "",
        f"| way | {counts[0]} cells | {counts[1]} cells |",
        "|---|---|---|",
    ]
    for way in (FORWARD, HEADS, PASSES, MEAN, EAGER, LISTED):
        peaks = [peak_memory(name, way, cells, options) for cells in counts]
        told = [
            f"not run: the list alone is {kept_bytes(size, cells) / MIB:.0f}" if peak is None else f"{peak:.0f}"
            for cells, peak in zip(counts, peaks, strict=True)
        ]
        lines.append(f"| {way} | {' | '.join(told)} |")
    return [*lines, ""]


def device_lines(options: argparse.Namespace) -> list[str]:
    """Time and memory on CUDA, after the kernels were held against each other."""
    size = SIZES["full"]
    with tempfile.TemporaryDirectory() as folder:
        means = {}
        ways = Ways(replace(size, layers=4), 8, settings_of(options))
        for kernel in ("gene_order", "auto"):
            run = ways.run("mean", kernel=kernel)
            run.folder = Path(folder) / kernel
            run.run()
            means[run.kernel] = np.load(run.folder / "partial" / "layers" / "layer-3-mean.npy")
    first, *others = means.values()
    largest = max((float(np.abs(first - other).max()) for other in others), default=0.0)
    torch.cuda.reset_peak_memory_stats()
    lines = time_table("full", options)
    name = torch.cuda.get_device_name()
    lines.append(
        f"{name}, {options.dtype}; largest difference of kernels {', '.join(means)} in sums over 8 cells: "
        f"{largest:.2g}; peak device memory of all ways together {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
    )
    return [*lines, ""]


def write_between(path: Path, lines: list[str]) -> None:
    """Replace what stands between the markers of a page."""
    page = path.read_text(encoding="utf-8")
    head, _, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not end:
        raise SystemExit(f"{path}: no lines {BEGIN} and {END} to write between")
    path.write_text(f"{head}{BEGIN}\n" + "\n".join(lines).rstrip() + f"\n{END}{tail}", encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=["i", "ii", "iv"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu for a machine others use too")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--most-gib", type=float, default=4.0, help="largest list of per-cell attention to keep")
    parser.add_argument("--only", choices=["time", "memory"], help="leave the other out")
    parser.add_argument("--full-size", action="store_true", help="V2-316M shape with random weights, on CUDA only")
    parser.add_argument("--write", type=Path, help="page whose measured section is replaced")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--cells", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if options.full_size and not torch.cuda.is_available():
        raise SystemExit("--full-size needs a CUDA device, and there is none here")
    device = "cuda" if options.full_size else "cpu"
    lines: list[str] = []
    with torch.inference_mode(), _thread_limits(options.threads), _full_precision(device):
        if options.measure:
            print(json.dumps({"mib": measure(options.sizes[0], options.measure, options.cells, options)}))
            return
        for name in ["full"] if options.full_size else options.sizes:
            if options.full_size:
                own = device_lines(options)
            else:
                own = [] if options.only == "memory" else time_table(name, options)
                own += [] if options.only == "time" else memory_table(name, options)
            print("\n".join(own), flush=True)
            lines += own
    if options.write:
        write_between(options.write, lines)


if __name__ == "__main__":
    main()
