"""Where the report speaks of what an asset holds, as the asset's metadata."""

from __future__ import annotations

from typing import Any

from interp_assets.deployment import read_deployment
from interp_assets.layout import Layout
from interp_assets.metadata import report_metadata


def reported(layout: Layout, study: str, release: str, anchor: str = "") -> dict[str, Any]:
    """Address or path of the report of one release in one study, at ``anchor`` (the id of a row, figure or claim).

    Reports are reached by address where the deployment states one for its notices (``notify: link``).
    """
    link = str(read_deployment(layout.folders).section("notify").get("link", ""))
    return report_metadata(link, str(layout.folders.store), study, release, anchor)
