"""Running sums of an extraction: of the open shard, and of the finished shards before it.

What belongs here: where the sums of a pass lie (processor, device, disk) and how shards are added. What does not: what
is added to them (`kernel`), and what the slabs of a pass are (`budget`).

Shards are added in order, the same two operands whichever way the total is kept, so that a run continued from a
checkpoint, or kept within less memory, has the same bits.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from interp_assets.models.attention.store import last_checkpoint, read_slabs, write_checkpoint
from interp_assets.storage import writing

if TYPE_CHECKING:
    import torch

    from interp_assets.models.attention.cluster import AddedShard

Sums = NDArray[np.float32]


class ShardSums:
    """Float32 sums of the open shard of one pass (slabs x G x G), on the processor or on the device."""

    def __init__(self, shape: tuple[int, int, int], device: str) -> None:
        import torch

        self._shape = shape
        self._host: Sums | None = np.zeros(shape, dtype=np.float32) if device == "cpu" else None
        self._device = None if device == "cpu" else torch.zeros(shape, dtype=torch.float32, device=device)

    def tensor(self, slabs: slice) -> torch.Tensor:
        """Some slabs as a tensor to add to; on the processor it shares memory with the sums."""
        import torch

        if self._device is not None:
            return self._device[slabs]
        if self._host is None:
            self._host = np.zeros(self._shape, dtype=np.float32)
        return torch.from_numpy(self._host)[slabs]

    def taken(self) -> Sums:
        """The sums, in host memory and no longer held here; the next shard starts at zero."""
        if self._device is not None:
            taken: Sums = self._device.cpu().numpy().copy()
            self._device.zero_()
            return taken
        taken = np.zeros(self._shape, dtype=np.float32) if self._host is None else self._host
        self._host = None
        return taken


class ShardTotals:
    """Sum of the finished shards of one pass, continued from the last checkpoint in ``folder``.

    In ``memory`` there are two copies of the sums at the end of a shard, and a checkpoint is written at most every
    ``seconds``. On ``disk`` the checkpoint is the total: one copy, and one file written for every shard but the last.
    Only checkpoints of ``owner`` are continued: the request and the plan that the shards are of.
    """

    def __init__(
        self,
        folder: Path,
        shards: int,
        shape: tuple[int, int, int],
        kept: Literal["memory", "disk"],
        seconds: float,
        owner: str = "",
    ) -> None:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._shards, self._kept, self._seconds, self._owner = folder, shards, kept, seconds, owner
        self.done, self._stored = last_checkpoint(folder, shards, shape, owner)
        self._total: Sums | None = None
        if self._stored is not None and kept == "memory":
            self._total = np.load(self._stored, allow_pickle=False)
        self._written = time.monotonic()

    def close_shard(self, sums: ShardSums | AddedShard) -> None:
        """Add the sums of the next shard to the total."""
        self.done += 1
        last = self.done == self._shards
        own = sums.taken()
        if self._kept == "disk":
            if self._stored is not None:
                for slab, earlier in zip(own, read_slabs(self._stored), strict=True):
                    np.add(earlier, slab, out=slab)
            if last:
                self._total = own
            else:
                self._stored = write_checkpoint(self._folder, self.done, own, self._owner)
            return
        self._total = own if self._total is None else np.add(self._total, own, out=self._total)
        if not last and time.monotonic() - self._written >= self._seconds:
            write_checkpoint(self._folder, self.done, self._total, self._owner)
            self._written = time.monotonic()

    def result(self) -> Sums:
        """Sums of all shards."""
        if self._total is None or self.done != self._shards:
            raise ValueError(f"{self.done} of {self._shards} shards are finished; there is no total yet")
        return self._total
