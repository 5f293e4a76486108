"""Measure the hot paths, how they grow, and how long commands take; write the figures and the page.

    python -m benchmarks                     # everything (about 20 minutes), printed
    python -m benchmarks --write             # the same, into benchmarks/results.json and docs/performance.md
    python -m benchmarks --only curveball    # what has the word in its name or module; other results are kept

Each module runs in a process of its own with one thread. A missed goal is a result and the command ends with 0; two
ways that disagree, or a path that fails, have none, and it ends with 1.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from benchmarks import page, results
from benchmarks.catalogue import Entry, entries

PAGE = results.FOLDER.parent / "docs" / "performance.md"
LIBRARIES = ("OMP", "MKL", "OPENBLAS", "NUMBA")
# Memory is measured in a forked process, and none can be forked once numba ran threads of GNU OpenMP.
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in LIBRARIES} | {"NUMBA_THREADING_LAYER": "workqueue"}


def main() -> int:
    options = arguments()
    known = entries()
    asked = [entry for entry in known if entry.asked(options.only)]
    if not asked:
        raise SystemExit(f"nothing to measure has {' or '.join(options.only)} in its name or module")
    if options.into:
        return measure_here([entry for entry in asked if entry.module == options.module], options)
    found = []
    for module in dict.fromkeys(entry.module for entry in asked):
        found += measured_apart(module, options)
    whole = results.merged(results.read(options.results), found, asked, known)
    print(page.measured_part(whole))
    if options.write:
        results.write(options.results, whole)
        page.write(options.page, results.read(options.results))
    missing = [entry.name for entry in asked if entry.name not in {record["path"] for record in found}]
    if missing:
        print(f"no result: {'; '.join(missing)}", file=sys.stderr)
    return int(bool(missing))


def measured_apart(module: str, options: argparse.Namespace) -> list[results.Record]:
    """Results of one module from a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        into = pathlib.Path(folder) / "found.jsonl"
        command = [sys.executable, "-m", "benchmarks", "--module", module, "--into", str(into)]
        command += ["--only", *options.only] if options.only else []
        command += ["--rounds", str(options.rounds)] if options.rounds else []
        subprocess.run(command, env={**os.environ, **ONE_THREAD}, check=False)
        lines = into.read_text(encoding="utf-8").splitlines() if into.is_file() else []
    return [json.loads(line) for line in lines]


def measure_here(asked: list[Entry], options: argparse.Namespace) -> int:
    """Measure entries one after the other; each result is one line of the file, each error one on the screen."""
    failed = 0
    with options.into.open("w", encoding="utf-8") as into:
        for entry in asked:
            print(f"{entry.module}: {entry.name} ...", end=" ", flush=True)
            try:
                record = results.measured(entry, options.rounds)
            except (RuntimeError, ValueError) as error:
                failed += 1
                print(f"NO RESULT: {error}", flush=True)
                continue
            print(page.in_short(record), flush=True)
            into.write(json.dumps(record) + "\n")
            into.flush()
    return int(failed > 0)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="part of a name or module")
    parser.add_argument("--rounds", type=int, help="rounds of every path; each has its own number otherwise")
    parser.add_argument("--write", action="store_true", help="write the results and the page")
    parser.add_argument("--results", type=pathlib.Path, default=results.RESULTS)
    parser.add_argument("--page", type=pathlib.Path, default=PAGE)
    parser.add_argument("--module", help=argparse.SUPPRESS)
    parser.add_argument("--into", type=pathlib.Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
