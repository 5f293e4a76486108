"""`interp`: evaluate releases, look at what is declared, open the asset graph."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from interp_assets.cli.backfill import add_backfill_commands
from interp_assets.cli.declarations import add_dataset_commands, add_study_commands
from interp_assets.cli.notices import add_notice_commands
from interp_assets.cli.operations import add_operation_commands
from interp_assets.cli.releases import add_release_commands
from interp_assets.models.bars import counted, one_look
from interp_assets.settings import SettingsError

if TYPE_CHECKING:
    from rich.console import Console

    from interp_assets.evaluate import Evaluator
    from interp_assets.layout import Layout


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; an error a person can mend ends with one line and exit code 2."""
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "False")
    one_look()
    options = _parser().parse_args(arguments)
    if options.config_dir:
        os.environ["INTERP_CONFIG_DIR"] = str(options.config_dir)
    try:
        return int(options.run(options))
    except (ValueError, RuntimeError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="interp", description=__doc__)
    parser.add_argument("--config-dir", type=Path, help="folder with your own datasets/*.yaml and studies/*.yaml")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    evaluate = commands.add_parser("evaluate", help="judge releases in a study and print the verdict table")
    evaluate.add_argument("--study", default="demo")
    evaluate.add_argument("--release", action="append", help="default: every complete release; may be repeated")
    evaluate.add_argument("--jobs", type=int, help="processes side by side; default: 2, or 1 beside a GPU")
    evaluate.set_defaults(run=_evaluate)

    analysis = commands.add_parser("analysis", help="run one analysis again and print its rows, or explain it")
    analysis.add_argument("number", help="1 to 37, or E1 to E9")
    analysis.add_argument("--study", default="demo")
    analysis.add_argument("--release", help="default: the first complete release")
    analysis.add_argument("--explain", action="store_true", help="question, method, formula, null, traps, source")
    analysis.set_defaults(run=_analysis)

    add_release_commands(commands)

    add_study_commands(commands)
    add_dataset_commands(commands)
    add_operation_commands(commands)
    add_backfill_commands(commands)
    add_notice_commands(commands)
    return parser


def _chosen(options: argparse.Namespace, releases: Sequence[str]) -> tuple[Layout, list[str]]:
    """Layout, and the releases asked for or all complete ones; an unknown study or no release is an error."""
    from interp_assets.layout import read_layout
    from interp_assets.models.files.releases import find_releases
    from interp_assets.models.sourcing import release_card
    from interp_assets.planning import request_study

    request_study(options.study)
    layout = read_layout()
    if options.study not in layout.studies:
        raise SettingsError(f"unknown study {options.study}; known: {', '.join(layout.studies)}")
    found = list(releases) or _not_set_aside(
        layout, [release.name for release in find_releases(layout.folders.releases).complete]
    )
    if not found:
        raise FileNotFoundError(f"no complete release in {layout.folders.releases}; `interp releases list` says why")
    for name in releases:  # before anything is registered under a name that nothing answers to
        release_card(name, layout.folders)
    return layout, found


def _not_set_aside(layout: Layout, names: Sequence[str]) -> list[str]:
    """Releases that are not in quarantine; each that is gets a line. Named on the command line, it is evaluated."""
    from interp_assets import quarantine

    aside = quarantine.read(layout.folders.store)
    for name in sorted(set(names) & set(aside)):
        print(f"left out: {name} is in quarantine ({aside[name].reason}); `interp quarantine lift {name}` ends that")
    return [name for name in names if name not in aside]


def _evaluate(options: argparse.Namespace) -> int:
    layout, releases = _chosen(options, options.release or ())
    from interp_assets.parallel import default_jobs

    return _judge(layout, options.study, releases, default_jobs() if options.jobs is None else options.jobs)


def quiet_dagster() -> None:
    """Keep Dagster's own log and its notes on preview features off the terminal; the run history holds them."""
    import logging
    import warnings

    import dagster as dg

    for category in (dg.PreviewWarning, dg.BetaWarning, dg.SupersessionWarning):
        warnings.simplefilter("ignore", category)
    logging.getLogger("dagster").setLevel(logging.ERROR)


@contextmanager
def _evaluator(layout: Layout, started: float) -> Iterator[tuple[Evaluator, Console]]:
    """Evaluator over the deployment, and the console it tells its stages on; Dagster's own log is quiet."""
    from rich.console import Console

    from interp_assets.definitions import build_definitions
    from interp_assets.evaluate import Evaluator, dagster_instance
    from interp_assets.parallel import told

    quiet_dagster()
    console = Console()
    os.environ["DAGSTER_HOME"] = str(layout.folders.dagster_home)
    with dagster_instance(layout) as instance:
        evaluator = Evaluator(build_definitions(layout), layout, instance)
        evaluator.progress.before = lambda title: console.print(told(started, title), highlight=False)
        evaluator.progress.counting = counted
        yield evaluator, console


def _analysis(options: argparse.Namespace) -> int:
    """Explain an analysis, or run it again whatever is stored and print its rows."""
    from interp_assets.analyses.catalogue import labelled

    entry = labelled(options.number)
    if options.explain:
        from interp_assets.analyses.page import explanation

        print(explanation(options.number))
        return 0
    from interp_assets.report.terminal import print_rows

    layout, releases = _chosen(options, [options.release] if options.release else ())
    with _evaluator(layout, time.time()) as (evaluator, console):
        results = evaluator.rerun(options.study, releases[0], entry)
        print_rows(console, f"Analysis {entry.label} of {releases[0]} in {options.study}: {entry.title}", results)
    return 0


def _judge(layout: Layout, study: str, releases: Sequence[str], jobs: int) -> int:
    """Run the evaluation and print the verdict table; exit code 2 where a release failed and others were judged."""
    from interp_assets.parallel import models_at_once, worker_pool
    from interp_assets.report.stored import print_summary

    started = time.time()
    with _evaluator(layout, started) as (evaluator, console), worker_pool(jobs, started) as beside:
        models_at_once(evaluator.instance, jobs)
        progress = evaluator.evaluate(study, releases, beside)
    console.print(f"{len(progress.steps)} step(s) run" if progress.steps else "nothing to recompute: all is fresh")
    print_summary(console, layout.folders.store, study, [name for name in releases if name not in progress.failed])
    for name, reason in progress.failed.items():
        print(f"error: {name} was not judged: {' '.join(reason.split())}", file=sys.stderr)
    return 2 if progress.failed else 0
