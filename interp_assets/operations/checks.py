"""Checks of one machine and one deployment: each says what was found, what it means and the way out.

What belongs here: the record of a check, and checks of versions, folders, disk, files, releases and the clock. What
does not: the run history (`cli.doctor` reads it through Dagster) or printing.

A check never raises: what breaks while looking is itself a problem, told with its reason. No secret is ever told; of a
secret only whether it is there.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from interp_assets.settings import PROJECT, Folders

State = Literal["ok", "note", "problem"]
NEEDED_GIB = 5.0  # an evaluation in `bench` writes 2 to 3 GiB a release: attention sums and checkpoints
TIGHT_GIB = 20.0
SKEW_SECONDS = 30.0
PYTHON = (3, 11)
# A version of these changes numbers or the meaning of a run history; of the rest it is noted in one line.
DECISIVE = ("dagster", "dagster-webserver", "great-expectations", "numpy", "pandas", "pyarrow", "scipy", "torch")
NETWORK_DISKS = ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "lustre", "ceph", "beegfs", "gpfs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at; ``remedy`` is a command or an action, empty where nothing is to be done.

    A ``problem`` stops evaluations or makes their numbers doubtful; a ``note`` is worth knowing and stops nothing.
    """

    name: str
    state: State
    found: str
    remedy: str = ""

    def as_record(self) -> dict[str, str]:
        """Plain mapping for JSON."""
        return asdict(self)


def ok(name: str, found: str) -> Check:
    """A check that found nothing to do."""
    return Check(name=name, state="ok", found=found)


def note(name: str, found: str, remedy: str = "") -> Check:
    """A check that found something worth knowing."""
    return Check(name=name, state="note", found=found, remedy=remedy)


def problem(name: str, found: str, remedy: str) -> Check:
    """A check that found what stops an evaluation."""
    return Check(name=name, state="problem", found=found, remedy=remedy)


def looked(name: str, look: Callable[[], Check | Iterable[Check]]) -> list[Check]:
    """What a check found; whatever breaks while looking is a problem of that name."""
    try:
        found = look()
        return [found] if isinstance(found, Check) else list(found)
    except Exception as error:  # a doctor that dies of the illness helps nobody
        told = " ".join(str(error).split())[:300]
        return [problem(name, f"{type(error).__name__}: {told}", "mend what the message names, then ask again")]


def pinned(lock: Path) -> dict[str, str]:
    """Versions of ``requirements.lock`` by normalised name; empty where the file is not shipped.

    >>> pinned(Path("/no/such/file"))
    {}
    """
    if not lock.is_file():
        return {}
    found = re.findall(
        r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", lock.read_text(encoding="utf-8"), re.MULTILINE
    )
    return {_normal(name): version for name, version in found}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def installed() -> dict[str, str]:
    """Versions of the installed distributions by normalised name."""
    return {_normal(each.metadata["Name"] or ""): each.version for each in metadata.distributions()}


def versions(lock: Mapping[str, str], here: Mapping[str, str]) -> list[Check]:
    """Python and packages against the lock: a decisive package that is missing stops, one that differs is noted."""
    python = platform.python_version()
    checks = [
        ok("python", python)
        if tuple(int(part) for part in python.split(".")[:2]) >= PYTHON
        else problem("python", python, f"use Python {'.'.join(map(str, PYTHON))} or later")
    ]
    if missing := [name for name in DECISIVE if name not in here]:
        return [*checks, problem("packages", f"missing: {', '.join(missing)}", "pip install '.[platform]'")]
    other = {name: (here[name], lock[name]) for name in lock if name in here and here[name].split("+")[0] != lock[name]}
    told = [f"{name} {have} (locked {want})" for name, (have, want) in sorted(other.items())]
    if not lock:
        return [*checks, note("packages", "no requirements.lock beside the program: versions are not compared")]
    decisive = [line for line in told if line.split()[0] in DECISIVE]
    if decisive:
        remedy = "pip install -r requirements.lock; with other versions the last digits of results differ"
        return [*checks, note("packages", ", ".join(decisive), remedy)]
    rest = f"{len(told)} other package(s) differ from the lock: {', '.join(told[:4])}" if told else ""
    same = f"as locked: {sum(name in here for name in lock)} of {len(lock)} pinned are installed"
    return [*checks, note("packages", rest) if rest else ok("packages", same)]


def file_system(path: Path, mounts: str) -> str:
    r"""Kind of the file system that holds a path, by the table of mounts (``/proc/mounts``); empty where unknown.

    >>> file_system(Path("/data/store"), "disk / ext4 rw 0 0\nhost:/d /data nfs4 rw 0 0")
    'nfs4'
    """
    kinds = {}
    for line in mounts.splitlines():
        parts = line.split()
        if len(parts) >= 3:
            kinds[Path(parts[1].replace("\\040", " "))] = parts[2]
    holders = [mount for mount in kinds if path == mount or mount in path.parents]
    return kinds[max(holders, key=lambda mount: len(mount.parts))] if holders else ""


def mount_table() -> str:
    """Table of the mounted file systems; empty where the system has none to read."""
    table = Path("/proc/mounts")
    return table.read_text(encoding="utf-8", errors="surrogateescape") if table.is_file() else ""


def existing(path: Path) -> Path:
    """The path, or its nearest parent that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def store(folders: Folders, mounts: str) -> list[Check]:
    """Whether the store can be written, on what, and whether an evaluation fits."""
    place = existing(folders.store)
    kind = file_system(place, mounts)
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".clock-") as probe:
            probe.write(b"x")
    except OSError as error:
        told = f"{folders.store}: cannot be written ({error.strerror})"
        return [problem("store", told, f"make {place} writable for user {os.getuid()}, or set INTERP_STORE")]
    on = f" on {kind}" if kind else ""
    checks = [ok("store", f"{folders.store}{'' if folders.store.is_dir() else ' (made on first use)'}{on}")]
    if kind in NETWORK_DISKS:
        told = f"the store lies on {kind}; sqlite, the embedded run history, is not safe there"
        checks = [note("store", told, "keep the run history in PostgreSQL: docs/deployment.md")]
    return [*checks, disk(shutil.disk_usage(place).free / 2**30, place)]


def disk(free_gib: float, place: Path) -> Check:
    """Free disk against what an evaluation writes."""
    told = f"{free_gib:.1f} GiB free at {place}"
    if free_gib < NEEDED_GIB:
        return problem(
            "disk", f"{told}; one evaluation needs up to {NEEDED_GIB:.0f}", "interp store clean, or make room"
        )
    return note("disk", told, "interp store clean") if free_gib < TIGHT_GIB else ok("disk", told)


def clock(now: float, stamped: float, label: str) -> Check:
    """Time of this machine against another clock, both in seconds since the epoch.

    Schedules, retries and the order of runs rest on the clock; no result does.
    """
    skew = stamped - now
    told = f"{skew:+.1f} s against the {label}"
    if abs(skew) <= SKEW_SECONDS:
        return ok("clock", told)
    return problem("clock", told, "set the clock (timedatectl set-ntp true); schedules and run order rest on it")


def stamped(place: Path) -> float:
    """Time by which the file system stamps a file that is written now."""
    with tempfile.NamedTemporaryFile(dir=place, prefix=".clock-") as probe:
        return Path(probe.name).stat().st_mtime


def releases(folders: Folders, quarantined: Mapping[str, Any]) -> list[Check]:
    """Releases by state, each that is not judged with its reason."""
    from interp_assets.models.files.releases import find_releases

    if not folders.releases.is_dir():
        told = f"{folders.releases}: no such folder"
        return [problem("releases", told, "interp releases add FOLDER, or set INTERP_RELEASES")]
    found = find_releases(folders.releases)
    many = f"{len(found.complete)} complete in {folders.releases}"
    checks = [ok("releases", many) if found.complete else note("releases", many, "interp releases add FOLDER")]
    checks += [note("releases", f"{path.name}: incoming, {why}") for path, why in found.incoming.items()]
    checks += [note("releases", f"{path.name} refused: {why}", "see the reason") for path, why in found.refused.items()]
    return checks + [
        note("releases", f"{name} in quarantine: {record.reason[:200]}", f"mend it, then interp quarantine lift {name}")
        for name, record in sorted(quarantined.items())
    ]


def wheels(folders: Folders, deep: bool) -> Check:
    """Wheels that hold data files; with ``deep`` against the hashes of ``requirements-data.txt``."""
    from interp_assets.storage import sha256_of

    found = sorted(folders.wheels.glob("*.whl")) if folders.wheels.is_dir() else []
    if not found:
        return note("data wheels", f"none in {folders.wheels}; studies on their data are skipped", "make setup")
    if not deep:
        return ok("data wheels", f"{len(found)} in {folders.wheels} (hashes: --deep)")
    declared = PROJECT / "requirements-data.txt"
    if not declared.is_file():
        return note("data wheels", f"{len(found)} in {folders.wheels}; no {declared.name}, hashes are not compared")
    hashes = set(re.findall(r"sha256:([0-9a-f]{64})", declared.read_text(encoding="utf-8")))
    if bad := [path.name for path in found if sha256_of(path) not in hashes]:
        return problem("data wheels", f"other hash than declared: {', '.join(bad)}", "delete them, then make setup")
    return ok("data wheels", f"{len(found)} as declared in {declared.name}")


def mirror(sizes: Iterable[tuple[str, Path, int]], hashes: Mapping[Path, str], root: Path | None) -> Check:
    """Files of the data mirror against their declarations: (dataset, file, declared bytes), and hashes where asked.

    A size of 0 is one that nobody could state beforehand; its file was locked on first use.

    A missing file is a note, since its study says what it lacks; one that is there and differs is a problem.
    """
    from interp_assets.storage import sha256_of

    if root is None:
        told = "INTERP_DATA_MIRROR is not set; studies on real screens say what is missing"
        return note("data mirror", told, "export INTERP_DATA_MIRROR=FOLDER")
    if not root.is_dir():
        return problem("data mirror", f"{root}: no such folder", "mount it, or unset INTERP_DATA_MIRROR")
    listed = list(sizes)
    bad = [
        f"{name} ({path.name})"
        for name, path, size in listed
        if path.is_file() and size not in (0, path.stat().st_size)
    ]
    hashes = {path: wanted for path, wanted in hashes.items() if path.is_file()}
    bad += [path.name for path, wanted in hashes.items() if sha256_of(path) != wanted]
    absent = [name for name, path, _ in listed if not path.is_file()]
    how = f"{len(hashes)} by hash, the others by size" if hashes else "by size"
    told = f"{len(listed) - len(absent)} of {len(listed)} declared files in {root}, {how}"
    if bad:
        remedy = "copy them again; they are refused as they are"
        return problem("data mirror", f"not as declared: {', '.join(bad)}", remedy)
    return note("data mirror", f"{told}; absent: {', '.join(absent[:6])}") if absent else ok("data mirror", told)


def graphics() -> Check:
    """The GPU that models run on, or none; torch is asked only where a driver answers, since importing it is slow."""
    if not Path("/dev/nvidiactl").exists() and shutil.which("nvidia-smi") is None:
        return ok("gpu", "none; models run on the processor")
    import torch

    if not torch.cuda.is_available():
        return note("gpu", f"a driver, but torch {torch.__version__} sees none", "install a CUDA build of torch")
    facts = torch.cuda.get_device_properties(0)
    return ok("gpu", f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}")


def settings_file(folders: Folders) -> Check:
    """Whether ``platform.yaml`` can be read; what it means its readers judge."""
    from interp_assets.deployment import read_deployment

    deployment = read_deployment(folders)
    return ok("platform.yaml", str(deployment.path) if deployment.path else "none; the defaults hold")


def webhook(environment: Mapping[str, str], variable: str) -> Check:
    """Whether the secret that messages are sent with is there; it is never printed; no variable: nobody is told."""
    if not variable:
        return ok("webhook", "off: no `notify:` in platform.yaml")
    if environment.get(variable):
        return ok("webhook", f"{variable} is set")
    remedy = f"give the daemon {variable} in its environment, or take `notify:` out of platform.yaml"
    return note("webhook", f"{variable} is not set; no message is sent", remedy)


def browser() -> Check:
    """Chromium, which only screenshots and browser tests need."""
    found = shutil.which("chromium")
    return ok("chromium", found) if found else note("chromium", "not found; only screenshots and browser tests need it")
