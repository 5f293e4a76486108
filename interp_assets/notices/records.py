"""A notice, and what the section ``notify`` of ``platform.yaml`` may say.

What belongs here: records and the strict reader of the settings. What does not: the address of the webhook. It is a
secret that lives in an environment variable only; the settings hold that variable's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from interp_assets.settings import SettingsError

Kind = Literal["verdict change", "quarantine", "digest", "test"]
Level = Literal["lost", "gained", "other"]
Minimum = Literal["lost", "any"]
LEVELS: tuple[Level, ...] = get_args(Level)  # most urgent first
WEBHOOK_FROM = "INTERP_WEBHOOK_URL"
KEYS = ("webhook_from", "minimum", "link")
VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
LINK = re.compile(r"https?://[^\s<>|\"]+")
PLACEHOLDERS = ("{study}", "{release}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One message to people, before it is put into the form of a receiver.

    ``covers`` are the keys of the events it tells, so that each is told once; ``id`` is their hash (`outbox.notice_id`)
    and stays the same when a message has to be repeated. ``title`` is one line, ``lines`` plain sentences, the most
    important first. ``level`` says what changed for the release: something was lost, gained, or neither. ``study`` and
    ``release`` are empty where a notice is about several.
    """

    id: str
    kind: Kind
    title: str
    lines: tuple[str, ...]
    level: Level
    covers: tuple[str, ...]
    study: str = ""
    release: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeSettings:
    """Who is told what.

    ``webhook_from`` names the environment variable that holds the address. ``minimum`` is ``lost`` (a verdict, claim,
    criterion or standard was lost, or a release was put in quarantine) or ``any``. ``link`` is added to every message;
    ``{study}`` and ``{release}`` in it are filled in.
    """

    webhook_from: str = WEBHOOK_FROM
    minimum: Minimum = "lost"
    link: str = ""


def read_settings(section: Mapping[str, Any], path: Path | None = None) -> NoticeSettings | None:
    """Settings that a section states; None when it is empty, because notices are off by default.

    Raises
    ------
    SettingsError
        Naming file, key and remedy. A value that looks like an address is not repeated in the message.
    """
    if not section:
        return None
    where = f"{path or 'platform.yaml'}: notify"
    unknown = sorted(set(map(str, section)) - set(KEYS))
    if unknown:
        raise SettingsError(f"{where}: unknown key {', '.join(unknown)}; known: {', '.join(KEYS)}")
    variable = section.get("webhook_from", WEBHOOK_FROM)
    if not isinstance(variable, str) or not VARIABLE.fullmatch(variable):
        raise SettingsError(
            f"{where}: `webhook_from` is the name of an environment variable, such as {WEBHOOK_FROM}; the address "
            "itself is a secret and does not belong in a file"
        )
    minimum = section.get("minimum", "lost")
    if minimum not in get_args(Minimum):
        raise SettingsError(f"{where}: `minimum` is {' or '.join(get_args(Minimum))}")
    return NoticeSettings(webhook_from=variable, minimum=minimum, link=_link(section.get("link", ""), where))


def _link(link: Any, where: str) -> str:
    """The link as declared; refused where it could break out of its place in a message."""
    bare = str(link)
    for name in PLACEHOLDERS:
        bare = bare.replace(name, "x")
    if link and (not isinstance(link, str) or not LINK.fullmatch(bare) or "{" in bare or "}" in bare):
        raise SettingsError(f"{where}: `link` is an http(s) address; {' and '.join(PLACEHOLDERS)} in it are filled in")
    return str(link or "")
