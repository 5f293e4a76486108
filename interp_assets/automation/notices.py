"""The sensor that tells people what changed; there is none where ``platform.yaml`` has no section ``notify``."""

from __future__ import annotations

import json
import time

import dagster as dg

from interp_assets.layout import Layout
from qc_standards.json_text import plain_json

SENSOR = "tell_people"


def notice_sensors(layout: Layout) -> list[dg.SensorDefinition]:
    """The sensor, where the deployment declares whom to tell; an empty list else."""
    from interp_assets.deployment import read_deployment
    from interp_assets.notices.records import read_settings

    deployment = read_deployment(layout.folders)
    settings = read_settings(deployment.section("notify"), deployment.path)
    if settings is None:
        return []

    @dg.sensor(
        name=SENSOR,
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sends verdict changes and quarantined releases to the webhook; each is told once.",
    )
    def tell_people(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        from interp_assets.notices.outbox import BusyError
        from interp_assets.notices.sending import AddressError, read_address
        from interp_assets.notices.telling import events, tell

        store = layout.folders.store
        seen = events(store)
        if _nothing_to_do(context.cursor, seen, time.time()):
            return dg.SkipReason("nothing changed since the last look")
        try:
            done = tell(store, settings, read_address(settings.webhook_from), time.time)
        except (AddressError, BusyError) as reason:
            return dg.SkipReason(f"nobody was told: {reason}")
        for problem in done.problems:
            context.log.warning(problem)
        context.update_cursor(json.dumps({"seen": seen, "due": done.due}))
        unread = "".join(f"; {problem[:300]}" for problem in done.unreadable)
        return dg.SkipReason(f"{len(done.told)} message(s) sent, {len(done.waiting)} waiting{unread}")

    return [tell_people]


def _nothing_to_do(cursor: str | None, seen: str, now: float) -> bool:
    """Whether the files are those of the last look and no message is due; a cursor of another version asks to look."""
    try:
        last = plain_json(cursor or "{}")
        due = last["due"]
        return bool(last["seen"] == seen and (due is None or due > now))
    except (ValueError, TypeError, KeyError):
        return False
