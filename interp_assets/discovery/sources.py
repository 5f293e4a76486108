"""Declared sources of releases: section ``sources`` of ``platform.yaml``, read once and strictly.

What belongs here: which folders and hub repositories are watched, and how often. What does not: looking into them
(`folder_source`, `hub_source`), or the releases folder itself, which is always watched.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from interp_assets.cells.declared import Declaration
from interp_assets.deployment import Deployment, read_deployment
from interp_assets.models.files.adding import Request
from interp_assets.models.files.hub import Address, hub_address, hub_endpoint
from interp_assets.models.files.recognise import free_name, needs
from interp_assets.models.files.releases import RESERVED_NAME, usable_name
from interp_assets.settings import Folders

HOUR: Final = 3600
FOLDER_PACE: Final = 60
_SPAN = re.compile(r"(\d+)\s*([smhd])")
_UNITS: Final = {"s": 1, "m": 60, "h": HOUR, "d": 24 * HOUR}
_FOLDER = re.compile(r"[^/\\]+(/[^/\\]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSource:
    """A folder beside the releases folder whose sub-folders become releases once their ``release.json`` is complete.

    ``every`` is the pace in seconds at which what failed is tried again; the folder itself is listed each tick.
    """

    path: Path
    every: int = FOLDER_PACE

    @property
    def key(self) -> str:
        """Short, stable name of the source, usable as a file name."""
        return _key(self.path.name, "folder", str(self.path))

    @property
    def told(self) -> str:
        """The source in words."""
        return f"folder {self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSource:
    """A repository of a hub, all of its model folders or those that ``folder`` names or matches.

    ``every`` is the pace in seconds at which the hub is asked for its newest commit. ``request`` is what `adding` is
    told besides the files.
    """

    repo: str
    folder: str = ""
    revision: str = "main"
    endpoint: str
    name: str = ""
    every: int = HOUR
    request: Request = field(default_factory=Request)

    @property
    def key(self) -> str:
        """Short, stable name of the source, usable as a file name."""
        return _key(self.repo.replace("/", "-"), "hub", self.endpoint, self.repo, self.folder, self.revision)

    @property
    def address(self) -> Address:
        """The whole repository at its revision; folders are chosen from its tree."""
        return Address(self.repo, "", self.revision)

    @property
    def told(self) -> str:
        """The source in words."""
        inside = f"/{self.folder}" if self.folder else ""
        return f"{self.repo}{inside}@{self.revision} on {self.endpoint}"


Source = FolderSource | HubSource


def _key(name: str, *parts: str) -> str:
    return f"{free_name(name)[:60] or 'source'}-{sha256(chr(0).join(parts).encode()).hexdigest()[:8]}"


def read_sources(folders: Folders) -> tuple[Source, ...]:
    """Sources this deployment declares besides its releases folder; none where ``platform.yaml`` names none.

    Raises
    ------
    DeclarationError
        When the file or an entry is malformed; the message names file, key and what is allowed.
    """
    return declared_sources(read_deployment(folders), folders)


def declared_sources(deployment: Deployment, folders: Folders) -> tuple[Source, ...]:
    """Sources of a deployment file that was read already (see `read_sources`)."""
    sources: list[Source] = []
    for entry in deployment.declarations("sources"):
        kind = entry.choice("kind", ("folder", "hub"))
        source = _folder(entry, folders) if kind == "folder" else _hub(entry)
        entry.finish()
        if source is None:
            continue
        if source.key in {other.key for other in sources}:
            raise entry.error("kind", f"names {source.told} a second time. Remove one of the two.")
        sources.append(source)
    return tuple(sources)


def _folder(entry: Declaration, folders: Folders) -> FolderSource | None:
    """The declared folder; None for the releases folder, which is watched anyway."""
    path = Path(entry.text("path")).expanduser()
    path = (path if path.is_absolute() else entry.path.absolute().parent / path).resolve()
    every = _span(entry, FOLDER_PACE)
    releases = folders.releases.resolve()
    if path == releases:
        return None
    if path.is_relative_to(releases) or releases.is_relative_to(path):
        raise entry.error("path", f"{path} and the releases folder {releases} lie in each other. Keep them apart.")
    return FolderSource(path=path, every=every)


def _hub(entry: Declaration) -> HubSource:
    repo = entry.text("repo")
    address = hub_address(repo)
    if address is None or address.folder or "@" in repo:
        raise entry.error("repo", f"is {repo!r}; write org/name, and folder and revision as keys of their own.")
    folder = entry.text("folder", "").strip("/")
    if folder and (_FOLDER.fullmatch(folder) is None or {".", ".."} & set(folder.split("/"))):
        raise entry.error("folder", f"is {folder!r}; write a folder of the repository, or a pattern such as V2-*.")
    name = entry.text("name", "")
    if name and (not usable_name(name) or RESERVED_NAME.fullmatch(name)):
        raise entry.error("name", f"is {name!r}; use letters, digits, '-', '_' and '.', and no name of a control.")
    return HubSource(
        repo=repo,
        folder=folder,
        revision=entry.text("revision", "main"),
        endpoint=_endpoint(entry),
        name=name,
        every=_span(entry, HOUR),
        request=_request(entry),
    )


def _endpoint(entry: Declaration) -> str:
    """The declared hub, else that of the environment; a password has no place in a file."""
    endpoint = entry.text("endpoint", hub_endpoint()).rstrip("/")
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise entry.error("endpoint", "is no http(s) address of a hub. Leave it out for the public one.")
    if parts.username or parts.password or parts.query:
        raise entry.error("endpoint", "holds a user, password or query; no token is sent to a hub. Remove it.")
    return endpoint


def _request(entry: Declaration) -> Request:
    family = entry.text("family", "")
    if family:
        try:
            needs(family)
        except ValueError as error:
            raise entry.error("family", " ".join(str(error).split())) from error
    stated = entry.text("dictionaries", "")
    path = Path(stated).expanduser() if stated else None
    if path is not None and not path.is_absolute():
        path = entry.path.absolute().parent / path
    gene_key = entry.choice("gene_key", ("", "symbol", "ensembl"), "")
    return Request(family=family, dictionaries=path, gene_key=gene_key)


def _span(entry: Declaration, default: int) -> int:
    """Seconds of ``every``."""
    stated = entry.text("every", f"{default}s")
    try:
        return seconds(stated)
    except ValueError as error:
        raise entry.error("every", str(error)) from error


def seconds(text: str) -> int:
    """Seconds of a span such as ``90s``, ``10m``, ``1h`` or ``2d``.

    Raises
    ------
    ValueError
        For anything else, and for less than 10 seconds.

    >>> seconds("10m"), seconds("1h")
    (600, 3600)
    """
    found = _SPAN.fullmatch(text.strip())
    span = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 10 <= span <= 366 * 24 * HOUR:
        raise ValueError(f"{text!r} is no span of time; write 10m, 1h or 2d (at least 10s).")
    return span


def named_source(sources: Sequence[Source], key: str) -> Source:
    """Source with a key.

    Raises
    ------
    ValueError
        If none has it, as after an edit of the file.
    """
    for source in sources:
        if source.key == key:
            return source
    known = ", ".join(source.key for source in sources) or "none"
    raise ValueError(f"no source {key} is declared (any more); declared: {known}")
