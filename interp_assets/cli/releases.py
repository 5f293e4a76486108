"""`interp releases`: add, list, verify and describe model releases (`watching` looks for them)."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp_assets.cli.watching import add_watch_command
from interp_assets.settings import Folders, SettingsError
from qc_standards.json_text import plain_json

if TYPE_CHECKING:
    from interp_assets.models.files.adding import Added, Request
    from interp_assets.models.files.description import Description
    from interp_assets.models.files.releases import Release

ADD_HELP = """Brings a model or an edge table into the releases folder: recognises its family by the file names, leaves
out what must not be opened, turns pickled dictionaries into JSON with a reader that runs nothing, checks that the files
belong together, and writes release.json last."""


def add_release_commands(commands: Any) -> None:
    """Register ``interp releases`` and its commands."""
    group = commands.add_parser("releases", help="add, list, verify, describe or watch for model releases")
    releases = group.add_subparsers(required=True, metavar="COMMAND")

    add = releases.add_parser("add", help="bring in a folder, an edge table or org/name of a hub", description=ADD_HELP)
    add.add_argument(
        "source", metavar="PATH|org/name[/folder][@rev]", help="folder, edge table file, or model on a hub"
    )
    add.add_argument("--name", default="", help="name of the release; default: that of the folder")
    add.add_argument("--family", default="", help="family, where the file names do not say it")
    add.add_argument("--dictionaries", type=Path, metavar="DIR", help="folder of the Geneformer dictionaries")
    add.add_argument("--gene-key", default="", choices=("symbol", "ensembl"), help="default: what the dictionary holds")
    add.add_argument(
        "--fact",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="what release.json states besides, such as cells_hash=...; may be repeated, VALUE may be JSON",
    )
    add.set_defaults(run=_add)

    releases.add_parser("list", help="every release folder, its state and what it holds").set_defaults(run=_list)

    verify = releases.add_parser("verify", help="check releases file by file; exit code 1 if one is refused")
    verify.add_argument("release", nargs="?", metavar="NAME|PATH", help="default: every folder of the releases folder")
    verify.set_defaults(run=_verify)

    describe = releases.add_parser("describe", help="layers, heads, vocabulary, files and origin of one release")
    describe.add_argument("release", metavar="NAME|PATH")
    describe.add_argument("--json", action="store_true", help="print the description as JSON")
    describe.set_defaults(run=_describe)

    add_watch_command(releases)


def _add(options: argparse.Namespace) -> int:
    from interp_assets.models.files.adding import Request, add_release

    folder = Folders.from_environment().releases
    request = Request(
        name=options.name,
        family=options.family,
        dictionaries=options.dictionaries,
        gene_key=options.gene_key,
        facts=_facts(options.fact),
    )
    path = Path(options.source).expanduser()
    added = add_release(path, folder, request) if path.exists() else _from_hub(options.source, folder, request)
    for line in _told(added, folder):
        print(line)
    return 0


def _from_hub(text: str, folder: Path, request: Request) -> Added:
    """A source that is not on this disk: a model of a hub, or a path that does not exist."""
    from interp_assets.models.files.hub import add_from_hub, hub_address

    address = hub_address(text)
    if address is None:
        raise FileNotFoundError(f"{text}: no such file or folder, and no org/name[/folder][@revision] of a hub")
    return add_from_hub(address, folder, request)


def _facts(stated: Sequence[str]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for text in stated:
        key, equals, value = text.partition("=")
        if not key.isidentifier() or not equals or key in ("name", "family", "files", "kind", "dictionaries"):
            raise SettingsError(f"--fact {text}: write KEY=VALUE; name, family and files have options of their own")
        try:
            facts[key] = plain_json(value)
        except ValueError:
            facts[key] = value
    return facts


def _told(added: Added, folder: Path) -> Iterable[str]:
    """What `add` did, and the command that comes next."""
    release, shape = added.release, added.description.shape
    if added.existing:
        yield f"{release.name}: the same files are there already as release {added.existing}; nothing was copied"
    else:
        yield f"{release.name}: {release.family}, {_in_words(added.description)}"
        size = sum(file.size for file in release.files)
        yield f"  copied     {len(release.files)} files, {_bytes(size)}, to {folder / release.name}"
    if added.description.published:
        yield f"  known      {added.description.published}"
    for entry in added.converted:
        yield f"  converted  {entry['from']} to {entry['to']} (read without running anything)"
    for path, why in sorted(added.left_out.items()):
        yield f"  left out   {path}: {why}"
    for name in added.relatives:
        yield f"  related    release {name} has the same weights with other files beside them"
    for note in shape.notes:
        yield f"  note       {note}"
    if shape.unknown:
        yield f"  not used   weights {_some(shape.unknown)}"
    yield f"  id         {release.release_id}"
    yield f"next: interp evaluate --study demo --release {release.name}"


def _in_words(description: Description) -> str:
    shape = description.shape
    if not shape.layers:
        return shape.attention
    if not shape.width:
        return "; ".join((shape.attention, *shape.notes[:1]))
    size = f"{shape.layers} layers x {shape.heads} heads, width {shape.width:,}, {shape.vocabulary:,} tokens"
    count = f"{shape.parameters / 1e6:,.1f} M" if shape.parameters >= 1e6 else f"{shape.parameters:,}"
    return f"{size}, up to {shape.max_length:,} a cell, {count} parameters in {shape.dtype}"


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def _bytes(size: int) -> str:
    """Size in the unit people read.

    >>> _bytes(1265455076), _bytes(61_000), _bytes(12)
    ('1.27 GB', '61.0 kB', '12 B')
    """
    for unit, scale, digits in (("GB", 1e9, 2), ("MB", 1e6, 1), ("kB", 1e3, 1)):
        if size >= scale:
            return f"{size / scale:.{digits}f} {unit}"
    return f"{size} B"


def _list(options: argparse.Namespace) -> int:
    from interp_assets.models.files.releases import find_releases

    folder = Folders.from_environment().releases
    scan = find_releases(folder)
    rows = [_row(release) for release in scan.complete]
    for state, folders in (("incoming", scan.incoming), ("refused", scan.refused)):
        rows += [(state, path.name, "", "", "", "", reason) for path, reason in folders.items()]
    if not rows:
        print(f"no release folders in {folder}; `interp releases add` brings one")
        return 0
    head = ("state", "name", "family", "size", "kind", "gap", "id")
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head) - 1)]
    for row in (head, *rows):
        cells = [f"{text:<{width}}" for text, width in zip(row, widths, strict=False)]
        print("  ".join((*cells, row[-1])))
    return 0


def _row(release: Release) -> tuple[str, ...]:
    """One line of the list; the gap is what the release says it gained over its baseline, in the unit of its loss."""
    size = _bytes(sum(file.size for file in release.files))
    gap = "" if release.gap is None else f"{release.gap:+.2f}{' untrained' if release.untrained else ''}"
    return ("complete", release.name, release.family, size, release.kind, gap, release.release_id[:12])


def _verify(options: argparse.Namespace) -> int:
    """Verify one release or all; every refusal is one line and the exit code is then 1."""
    from interp_assets.models.files.releases import find_releases

    folder = Folders.from_environment().releases
    if options.release is not None:
        return 0 if _verified(_folder_of(options.release, folder)) else 1
    scan = find_releases(folder)
    refused = dict(scan.refused)
    sound = [_verified(release.folder) for release in scan.complete]
    for path, reason in {**scan.incoming, **refused}.items():
        print(f"{'incoming' if path in scan.incoming else 'refused'}  {path.name}: {reason}")
    if not (scan.complete or scan.incoming or refused):
        print(f"no release folders in {folder}; `interp releases add` brings one")
    return 0 if all(sound) and not refused else 1


def _verified(folder: Path) -> bool:
    """Whether a folder holds a release whose files are those of its manifest and belong together; said in a line."""
    from interp_assets.models.files.description import describe_release
    from interp_assets.models.files.releases import read_release

    try:
        release = read_release(folder)
        found = describe_release(release)
    except (ValueError, OSError) as error:
        print(f"refused   {folder.name}: {' '.join(str(error).split())}")
        return False
    print(f"verified  {release.name}: {release.family}, {len(release.files)} files, {_in_words(found)}")
    return True


def _folder_of(text: str, releases: Path) -> Path:
    """Folder, or bare edge table, of a release given by name or path."""
    if (releases / text).is_dir() and "/" not in text:
        return releases / text
    path = Path(text).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{text}: no release of this name in {releases}, and no such folder")
    return path


def _describe(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from interp_assets.models.files.adding import release_at
    from interp_assets.models.files.description import describe_release

    path = _folder_of(options.release, Folders.from_environment().releases)
    found = describe_release(release_at(path))
    if options.json:
        print(json.dumps(asdict(found), indent=1, ensure_ascii=False))
        return 0
    for name, value in _lines(found):
        print(f"{name:<16} {value}")
    return 0


def _lines(found: Description) -> Iterable[tuple[str, str]]:
    """Name and value of every line of a description; what a family has no number for is left out."""
    shape = found.shape
    yield "release", f"{found.name} ({found.family}, {found.kind})"
    yield "id", found.release_id
    shown: Sequence[tuple[str, Any, Callable[[Any], str]]] = (
        ("layers x heads", (shape.layers, shape.heads), lambda pair: f"{pair[0]} x {pair[1]}" if pair[0] else ""),
        ("width", shape.width, lambda number: f"{number:,}" if number else ""),
        ("vocabulary", shape.vocabulary, lambda number: f"{number:,}" if number else ""),
        ("longest input", shape.max_length, lambda number: f"{number:,} tokens" if number else ""),
        ("direction", shape.direction, lambda text: "" if text == "none" else text),
        ("attention", shape.attention, str),
        ("parameters", shape.parameters, lambda number: f"{number:,}" if number else ""),
        ("number format", shape.dtype, lambda text: "" if text == "none" else text),
        ("gene key", found.gene_key, str),
        ("gap", found.gap, lambda gap: "" if gap is None else f"{gap:+.3f} over the baseline, in the unit of its loss"),
        ("known", found.published, str),
        ("source", found.source, str),
        ("not used", shape.unknown, lambda names: _some(names) if names else ""),
    )
    for name, value, text in shown:
        if said := text(value):
            yield name, said
    for note in shape.notes:
        yield "note", note
    yield from _provenance(found.facts)
    for file in found.files:
        yield "file", f"{file.path}  {_bytes(file.size)}  {file.sha256[:16]}"


def _provenance(facts: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    hub = facts.get("hub")
    if isinstance(hub, dict):
        yield "commit", f"{hub.get('repo')} at {hub.get('commit')}"
    converted = facts.get("converted")
    for entry in converted if isinstance(converted, list) else ():
        if isinstance(entry, dict):
            yield "converted", f"{entry.get('from')} ({str(entry.get('from_sha256'))[:16]}) to {entry.get('to')}"
