"""New releases become partitions; conditions do the rest."""

from collections.abc import Sequence

import dagster as dg

from interp_assets.layout import CONTROLS, RELEASE, Layout


def unregistered(found: Sequence[str], known: Sequence[str]) -> list[str]:
    """Names to register so that ``found`` releases can be judged: the controls first, then what is new."""
    return [name for name in (*CONTROLS, *sorted(found)) if name not in set(known)]


def release_sensor(layout: Layout) -> dg.SensorDefinition:
    """Sensor that registers complete, verified release folders as partitions; conditions do the rest."""

    @dg.sensor(
        name="new_releases",
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Registers release folders whose manifest is complete and matches their files.",
    )
    def new_releases(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        from interp_assets.models.files.releases import find_releases

        listing = find_releases(layout.folders.releases)
        for folder, reason in listing.refused.items():
            context.log.warning(f"release {folder.name} refused: {reason}")
        names = [release.name for release in listing.complete]
        new = unregistered(names, context.instance.get_dynamic_partitions(RELEASE.name or ""))
        if not new:
            waiting = f", {len(listing.incoming)} still being copied" if listing.incoming else ""
            return dg.SkipReason(f"{len(names)} release(s) known{waiting}, {len(listing.refused)} refused")
        return dg.SensorResult(dynamic_partitions_requests=[RELEASE.build_add_request(new)])

    return new_releases
