"""`interp notify`: tell people now, see what would be told, and try the webhook."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp_assets.settings import Folders, SettingsError

if TYPE_CHECKING:
    from interp_assets.notices.records import NoticeSettings
    from interp_assets.notices.telling import Round

HELP = """Sends verdict changes and quarantined releases to the webhook that `notify:` in platform.yaml declares; a
running daemon does the same by itself. Without an option: what was told and what waits. Exit code 1 when a message is
not told, or the changes cannot be read."""


def add_notice_commands(commands: Any) -> None:
    """Register ``interp notify``."""
    notify = commands.add_parser("notify", help="tell people what changed, or see what would be told", description=HELP)
    what = notify.add_mutually_exclusive_group()
    what.add_argument("--once", action="store_true", help="send what is due; wait and try again within --patience")
    what.add_argument("--dry-run", action="store_true", help="print the JSON of what --once would send; change nothing")
    what.add_argument("--test", action="store_true", help="send a test message")
    what.add_argument("--again", action="store_true", help="send what was refused or given up once more")
    notify.add_argument("--patience", type=float, default=60.0, metavar="SECONDS", help="default: 60")
    notify.set_defaults(run=_notify)


def _notify(options: argparse.Namespace) -> int:
    folders = Folders.from_environment()
    settings = _settings(folders)
    if options.dry_run:
        return _dry_run(folders.store, settings)
    if options.test:
        return _test(settings)
    if options.once or options.again:
        return _once(folders.store, settings, options.patience, again=options.again)
    return _state(folders.store, settings)


def _settings(folders: Folders) -> NoticeSettings:
    from interp_assets.deployment import FILE, VARIABLE, read_deployment
    from interp_assets.notices.records import WEBHOOK_FROM, read_settings

    deployment = read_deployment(folders)
    settings = read_settings(deployment.section("notify"), deployment.path)
    if settings is None:
        place = deployment.path or f"a {FILE} in the config folder (or where {VARIABLE} points)"
        raise SettingsError(f"nobody is to be told: add `notify: {{webhook_from: {WEBHOOK_FROM}}}` to {place}")
    return settings


def _dry_run(store: Path, settings: NoticeSettings) -> int:
    from interp_assets.notices.slack import slack_message
    from interp_assets.notices.telling import preview

    entries, problems = preview(store, settings)
    messages = [slack_message(entry.notice, settings.link, repeated=entry.repeated) for entry in entries]
    print(json.dumps(messages, indent=1, ensure_ascii=False))
    return _told_problems(problems)


def _test(settings: NoticeSettings) -> int:
    from interp_assets.notices.messages import trial_notice
    from interp_assets.notices.sending import post, read_address
    from interp_assets.notices.slack import slack_message

    notice = trial_notice()
    answer = post(read_address(settings.webhook_from), slack_message(notice, settings.link), notice.id)
    print(f"test message to the address in {settings.webhook_from}: {answer.outcome} ({answer.said})")
    return 0 if answer.outcome == "told" else 1


def _once(store: Path, settings: NoticeSettings, patience: float, *, again: bool) -> int:
    from interp_assets.notices import telling
    from interp_assets.notices.sending import read_address

    address = read_address(settings.webhook_from)
    if again:
        print(f"{telling.again(store)} message(s) wait again")
    end = time.monotonic() + patience
    untold = 0
    while True:
        done = telling.tell(store, settings, address, time.time)
        _print(done)
        untold += len(done.untold)
        pause = max((done.due or 0.0) - time.time(), 0.0)
        if not done.waiting or time.monotonic() + pause > end:
            break
        time.sleep(pause)
    if done.waiting:
        print(f"{len(done.waiting)} message(s) wait; the next may be sent in {pause:.0f} s")
    return 1 if done.waiting or untold or done.unreadable else 0


def _print(done: Round) -> None:
    for entry in done.told:
        print(f"told: {entry.notice.title}")
    _told_problems(done.problems)


def _told_problems(problems: tuple[str, ...] | list[str]) -> int:
    """Print each problem; exit code 1 if there is one."""
    for problem in problems:
        print(f"warning: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _state(store: Path, settings: NoticeSettings) -> int:
    from interp_assets.notices.outbox import OPEN, UNTOLD, Outbox

    entries, problems = Outbox(store).entries()
    counted = Counter(entry.state for entry in entries)
    print(", ".join(f"{count} {state}" for state, count in sorted(counted.items())) or "nothing was told yet")
    print(f"webhook: the address in {settings.webhook_from}; minimum: {settings.minimum}")
    for entry in entries:
        if entry.state in (*OPEN, *UNTOLD):
            answer = f" ({entry.answer})" if entry.answer else ""
            print(f"{entry.state}: {entry.notice.title}{answer}")
    bad = any(entry.state in UNTOLD for entry in entries)
    return 1 if _told_problems(problems) or bad else 0
