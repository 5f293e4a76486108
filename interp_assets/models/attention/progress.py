"""How far an extraction is: a bar on a terminal, a log line now and then elsewhere.

What belongs here: cells a second, time left, what is kept. What does not: anything the result depends on.
"""

from __future__ import annotations

import logging
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from interp_assets.models.attention.budget import SumsPlan

if TYPE_CHECKING:
    from tqdm import tqdm

LOG_SECONDS = 60.0
_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} cells [{elapsed}, {rate_fmt}{postfix}]"
_log = logging.getLogger(__name__)


class Progress:
    """Progress of one extraction over all its passes; a cell counts once a pass.

    ``shown`` True draws a bar, False nothing; None draws a bar on a terminal, and elsewhere logs a line every minute
    and one at the end. Time left weighs a cell by the layers its pass runs.
    """

    def __init__(self, label: str, cells: int, sums: SumsPlan, *, shown: bool | None = None) -> None:
        from tqdm import tqdm

        self._label, self._sums, self._cells = label, sums, cells
        total = cells * len(sums.passes)
        hidden = None if shown is None else not shown
        self._bar: tqdm[None] = tqdm(total=total, unit="cell", desc=label, disable=hidden, bar_format=_FORMAT)
        self._logs = shown is None and bool(self._bar.disable)
        self._total, self._work = total, cells * sums.layers_run
        self._skipped = self._advanced = self._skipped_work = self._advanced_work = 0
        self._started = self._told = time.monotonic()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the bar; log what was done unless the run broke off."""
        self._bar.close()
        if self._logs and kind is None and self._advanced:
            _log.info("%s: done, %s", self._label, self.told())

    def skip(self, layers: range, cells: int) -> None:
        """Count cells of a pass that an earlier run has read."""
        self._skipped += cells
        self._skipped_work += cells * layers.stop
        self._bar.initial = self._skipped
        self._bar.update(cells)

    def advance(self, layers: range, cells: int) -> None:
        """Count cells of a pass that were just read."""
        self._advanced += cells
        self._advanced_work += cells * layers.stop
        self._bar.set_postfix_str(f"{self.left()}, {self._kept(layers)}", refresh=False)
        self._bar.update(cells)
        now = time.monotonic()
        if self._logs and now - self._told >= LOG_SECONDS:
            self._told = now
            _log.info("%s: %s, %s, %s", self._label, self.told(), self.left(), self._kept(layers))

    def told(self) -> str:
        """Cells read, and cells a second of this run."""
        seconds = max(time.monotonic() - self._started, 1e-9)
        done = self._skipped + self._advanced
        return f"{done} of {self._total} cells, {self._advanced / seconds:.3g} cells/s"

    def left(self) -> str:
        """Time left, in words."""
        if not self._advanced_work:
            return "time left unknown"
        open_work = self._work - self._skipped_work - self._advanced_work
        seconds = (time.monotonic() - self._started) * open_work / self._advanced_work
        if seconds < 90:
            return f"{seconds:.0f} s left"
        minutes = seconds / 60
        return f"{minutes:.0f} min left" if minutes < 90 else f"{minutes / 60:.1f} h left"

    def _kept(self, layers: range) -> str:
        kept = {"all": "all heads", "mean": "head means", "listed": "head means and listed heads"}[self._sums.kept]
        return f"layers {layers.start}-{layers.stop - 1} of {self._sums.layers}, {kept}"
