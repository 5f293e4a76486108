"""Whose fault a failed run is: that of the release, or of the machine it ran on.

What belongs here: the rule, over names and messages of errors. What does not: reading runs, retries, quarantine
(`failures`). Only what is known to pass by itself counts as infrastructure; every other error is one that the same
files would meet again, so that it is not tried again.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from dataclasses import dataclass

from interp_assets.quarantine import Kind

STEP_FAILURE = "STEP_FAILURE"
# Classes by name: the history keeps the names of errors, not the errors. Databases, workers, memory, connections, steps
# that a dask scheduler lost or handed to a wrong worker; a verdict that was made again while something spoke from it;
# stored files that something changed, which an evaluation makes again.
PASSING = frozenset(
    {
        "MemoryError",
        "OutOfMemoryError",
        "OperationalError",
        "InterfaceError",
        "DatabaseError",
        "BrokenProcessPool",
        "ChildProcessCrashException",
        "ChildProcessError",
        "KilledWorker",
        "CommClosedError",
        "CancelledError",
        "FutureCancelledError",
        "OtherDeploymentError",
        "ConnectionError",
        "ConnectionAbortedError",
        "ConnectionRefusedError",
        "ConnectionResetError",
        "BrokenPipeError",
        "TimeoutError",
        "DagsterExecutionInterruptedError",
        "DagsterUserCodeUnreachableError",
        "KeyboardInterrupt",
        "StaleVerdictError",
        "DamagedError",
        "AttentionStoreError",
    }
)
PASSING_ERRNO = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EIO,
        errno.ENOMEM,
        errno.EMFILE,
        errno.ENFILE,
        errno.ESTALE,
        errno.EAGAIN,
        errno.ETIMEDOUT,
        errno.EROFS,
    }
)
_ERRNO = re.compile(r"\[Errno (\d+)\]")


@dataclass(frozen=True, slots=True)
class StepError:
    """One error of a chain, the outermost first: name of its class and its message."""

    name: str
    message: str


def failure_kind(reason: str, chain: Sequence[StepError]) -> Kind:
    """Whether a failed run was the fault of its release or of the infrastructure.

    ``reason`` is what Dagster says of the end of the run; ``chain`` the errors of its first failed step. A run that
    ended otherwise than by a failed step lost its worker, ran out of time or never started.

    >>> failure_kind("STEP_FAILURE", [StepError("OSError", "[Errno 28] No space left on device")])
    'infrastructure'
    >>> failure_kind("STEP_FAILURE", [StepError("HashMismatchError", "model.safetensors: sha256 differs")])
    'release'
    >>> failure_kind("UNKNOWN", [])
    'infrastructure'
    """
    if reason != STEP_FAILURE:
        return "infrastructure"
    return "infrastructure" if any(_passes(error) for error in chain) else "release"


def _passes(error: StepError) -> bool:
    number = _ERRNO.search(error.message)
    return error.name.rpartition(".")[2] in PASSING or (number is not None and int(number.group(1)) in PASSING_ERRNO)
