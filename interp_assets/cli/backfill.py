"""`interp backfill` and `interp quarantine`: evaluating again on request, and releases that are left alone."""

from __future__ import annotations

import argparse
from typing import Any


def add_backfill_commands(commands: Any) -> None:
    """Register ``interp backfill`` and ``interp quarantine``."""
    backfill = commands.add_parser("backfill", help="let the running deployment evaluate releases of a study again")
    backfill.add_argument("--study", required=True)
    backfill.add_argument("--release", action="append", default=[], help="default: all registered; may be repeated")
    backfill.add_argument(
        "--what", choices=("verdicts", "all"), default="verdicts", help="everything of a release, or what follows tests"
    )
    backfill.add_argument("--dry-run", action="store_true", help="only say what would be evaluated")
    backfill.set_defaults(run=_backfill)

    group = commands.add_parser("quarantine", help="releases that are left alone after they failed").add_subparsers(
        required=True, metavar="COMMAND"
    )
    group.add_parser("list", help="each with its reason").set_defaults(run=_list)
    lift = group.add_parser("lift", help="evaluate releases again at the daemon's next look")
    lift.add_argument("release", nargs="*", metavar="NAME")
    lift.add_argument("--all", action="store_true", help="every release in quarantine")
    lift.set_defaults(run=_lift)


def _backfill(options: argparse.Namespace) -> int:
    from interp_assets.automation.backfills import daemon_runs, plan, submit
    from interp_assets.automation.run_settings import read_run_settings
    from interp_assets.cli import quiet_dagster
    from interp_assets.definitions import build_definitions
    from interp_assets.evaluate import dagster_instance
    from interp_assets.layout import RELEASE, read_layout

    quiet_dagster()
    layout = read_layout()
    graph = build_definitions(layout).resolve_asset_graph()
    with dagster_instance(layout) as instance:
        registered = instance.get_dynamic_partitions(RELEASE.name or "")
        planned = plan(layout, graph, registered, options.study, options.release, options.what)
        for name, reason in planned.left_out.items():
            print(f"left out   {name}: {reason}")
        print(f"evaluates  {', '.join(planned.releases)}")
        print(f"covers     {planned.count} partitions of {len(planned.partitions)} assets in study {planned.study}")
        if options.dry_run:
            return 0
        number = submit(instance, graph, planned, read_run_settings(layout.folders))
        print(f"submitted  backfill {number}; follow it in the web page under Runs > Backfills ({number})")
        if not daemon_runs(instance):
            print("waits      no daemon has told of itself; `interp ui` starts one, and it takes this up")
    return 0


def _list(options: argparse.Namespace) -> int:
    from interp_assets import quarantine
    from interp_assets.settings import Folders

    held = quarantine.read(Folders.from_environment().store)
    for name, record in held.items():
        print(f"{name}  since {record.since or 'unknown'}  {record.kind}  {record.stage}")
        print(f"  {record.reason}")
    if held:
        print("`interp quarantine lift NAME` lets one be evaluated again; so does any change of its files")
    else:
        print("no release is in quarantine")
    return 0


def _lift(options: argparse.Namespace) -> int:
    from interp_assets import quarantine
    from interp_assets.settings import Folders, SettingsError

    store = Folders.from_environment().store
    held = quarantine.read(store)
    names = list(held) if options.all else options.release
    if not names and not options.all:
        raise SettingsError("name a release, or write --all; `interp quarantine list` shows them")
    if absent := [name for name in names if name not in held]:
        raise SettingsError(f"not in quarantine: {', '.join(absent)}; there: {', '.join(held) or 'none'}")
    for name in names:
        quarantine.lift(store, name)
        print(f"lifted  {name}; a running daemon evaluates it again within a minute")
    return 0
