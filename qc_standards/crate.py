"""Results that travel as one file: reading an RO-Crate zip, strictly, so that the gate can judge it elsewhere.

What belongs here: the layout of such a zip, its rules, and the result folders it unpacks to. What does not: writing one
(`interp_assets.operations.crate`) or judging (`qc_standards.gate`).

Nothing is trusted: a name that leaves the folder, a link, a duplicate, a file that is not described or has another hash
than described, or content that unpacks to more than `LARGEST` is refused with the reason. Hashes detect accidents, not
forgery: whoever can write a crate can also write its hashes. The verdict is recomputed from the tables in any case.
"""

from __future__ import annotations

import hashlib
import re
import stat
import struct
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final
from urllib.parse import unquote

from qc_standards.extended import EXTENDED_FILE
from qc_standards.json_text import plain_json
from qc_standards.results import JUDGED_FILES, PROVENANCE_FILE, TABLES_FOLDER, TESTS_FILE

METADATA: Final = "ro-crate-metadata.json"
README: Final = "README.txt"
RESULTS: Final = "results"
DECLARED: Final = "declared"
LARGEST: Final = 4 * 2**30  # bytes after unpacking; the results of one release in one study take some 20 MB
MOST_FILES: Final = 50_000
LARGEST_METADATA: Final = 64 * 2**20
LONGEST_NAME: Final = 400
_LOCAL_HEADER: Final = 30  # bytes before the name in the header that stands in front of every file
_ENCRYPTED: Final = 0x1
_BLOCK: Final = 2**20
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DRIVE: Final = re.compile(r"^[A-Za-z]:")
# What Python's reader of zip files raises for damaged bytes; a name that is no UTF-8 gives a ValueError.
_DAMAGE: Final = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, LookupError, RuntimeError, ValueError)


class CrateError(ValueError):
    """A zip that is no crate of results, or breaks a rule; the message names the file in it and the rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crate:
    """Result folders of one unpacked crate.

    ``folders`` maps a study and a release to the unpacked folder below ``place``; ``declared`` are the standards,
    claims and tests that the crate was made with and that differ from those of this installation.
    """

    path: Path
    place: Path
    folders: Mapping[tuple[str, str], Path]
    declared: tuple[str, ...] = ()

    def of(self, study: str | None) -> Mapping[tuple[str, str], Path]:
        """Result folders of one study, or all of them.

        Raises
        ------
        CrateError
            When the crate holds no results of that study.
        """
        chosen = {key: folder for key, folder in self.folders.items() if study in (None, key[0])}
        if not chosen:
            held = ", ".join(sorted({key[0] for key in self.folders}))
            raise CrateError(f"{self.path}: no results of study {study}; it holds {held}")
        return chosen

    def told(self, error: Exception) -> str:
        """What is wrong with results in the crate, in names of the crate, and whether its declarations differ."""
        text = str(error).replace(f"{self.place}/", f"{self.path}: ")
        if not self.declared:
            return text
        names = ", ".join(self.declared[:3]) + (f" and {len(self.declared) - 3} more" if len(self.declared) > 3 else "")
        return (
            f"{text}; it was made with other declarations than this qc-gate has ({names}): use the version named in it"
        )


@contextmanager
def unpacked(path: Path) -> Iterator[Crate]:
    """A crate, checked and unpacked into a temporary folder that is gone afterwards.

    Only what the gate reads is written out; every other file is read once for its hash.

    Raises
    ------
    CrateError
        When a rule is broken; nothing outside the temporary folder was touched.
    """
    with tempfile.TemporaryDirectory(prefix="qc-gate-") as place:
        try:
            with zipfile.ZipFile(path) as archive:
                crate = _unpack(path, archive, Path(place))
        except CrateError:
            raise
        except _DAMAGE as error:
            raise CrateError(f"{path}: damaged or no zip file ({error}); export or download it again") from error
        yield crate


def _unpack(path: Path, archive: zipfile.ZipFile, place: Path) -> Crate:
    members = _members(path, archive)
    described = _described(path, archive, members)
    _same_names(path, set(members) - {METADATA}, set(described))
    for name, entry in described.items():
        target = place / name if _read_by_gate(name) else None
        _check_content(path, archive, members[name], entry, target)
    differing = _other_declarations({name: str(entry["sha256"]) for name, entry in described.items()})
    return Crate(path=path, place=place, folders=_result_folders(path, place, members), declared=differing)


def _result_folders(path: Path, place: Path, names: Iterable[str]) -> dict[tuple[str, str], Path]:
    """Result folders by study and release; one without tests is refused, since it would go unjudged in silence."""
    inside = [parts for name in names if (parts := PurePosixPath(name).parts)[0] == RESULTS and len(parts) > 3]
    found = sorted({(parts[1], parts[2]) for parts in inside})
    tested = {(parts[1], parts[2]) for parts in inside if parts[3:] == (TESTS_FILE,)}
    if not found:
        raise CrateError(f"{path}: holds no {RESULTS}/<study>/<release>/{TESTS_FILE}; it is no export of results")
    if lacking := [f"{RESULTS}/{study}/{release}" for study, release in found if (study, release) not in tested]:
        raise CrateError(f"{path}: {', '.join(lacking[:3])}: no {TESTS_FILE}; export the results again")
    return {key: place.joinpath(RESULTS, *key) for key in found}


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Files of the zip by name, after everything that can be told without unpacking was checked."""
    entries = archive.infolist()
    if len(entries) > MOST_FILES:
        raise CrateError(f"{path}: {len(entries)} files, more than {MOST_FILES}")
    total = sum(entry.file_size for entry in entries)
    if total > LARGEST:
        raise CrateError(f"{path}: unpacks to {total / 2**30:.1f} GiB, more than {LARGEST / 2**30:.0f} GiB")
    _no_overlap(path, entries)
    found: dict[str, zipfile.ZipInfo] = {}
    seen: dict[str, str] = {}
    for entry in entries:
        if broken := _broken_rule(entry):
            raise CrateError(f"{path}: {entry.orig_filename[:200]!r}: {broken}")
        if entry.is_dir():
            continue
        same = unicodedata.normalize("NFC", entry.filename).casefold()
        if same in seen:
            raise CrateError(f"{path}: {entry.filename!r} and {seen[same]!r} are the same name")
        seen[same] = entry.filename
        found[entry.filename] = entry
    _no_file_as_folder(path, seen)
    return found


def _broken_rule(entry: zipfile.ZipInfo) -> str:
    """The rule that one entry breaks, or an empty text."""
    name, mode = entry.orig_filename, entry.external_attr >> 16
    parts = name.removesuffix("/").split("/")
    rules = (
        (len(name) > LONGEST_NAME, f"name of {len(name)} characters, more than {LONGEST_NAME}"),
        (name.startswith("/") or bool(_DRIVE.match(name)), "absolute name"),
        ("\\" in name or any(ord(sign) < 32 or ord(sign) == 127 for sign in name), "name with a backslash or control"),
        (any(part in ("", ".", "..") for part in parts), "name that leaves its folder or is empty"),
        (bool(entry.flag_bits & _ENCRYPTED), "encrypted"),
        (entry.compress_type not in _METHODS, "packed in a way other than stored or deflated"),
        (bool(stat.S_IFMT(mode)) and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)), "a link or no ordinary file"),
    )
    return next((told for broken, told in rules if broken), "")


def _no_overlap(path: Path, entries: Sequence[zipfile.ZipInfo]) -> None:
    """Refuse files whose packed bytes lie in each other: so a small zip unpacks to a huge one."""
    end = 0
    for entry in sorted(entries, key=lambda each: each.header_offset):
        if entry.header_offset < end:
            raise CrateError(f"{path}: the packed bytes of {entry.filename!r} overlap those of another file")
        end = entry.header_offset + _LOCAL_HEADER + entry.compress_size


def _no_file_as_folder(path: Path, names: Mapping[str, str]) -> None:
    for folded, name in names.items():
        for parent in PurePosixPath(folded).parents:
            if str(parent) in names:
                raise CrateError(f"{path}: {names[str(parent)]!r} is a file and the folder of {name!r}")


def _described(
    path: Path, archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo]
) -> dict[str, dict[str, Any]]:
    """Entity of every file that the metadata describes, by name."""
    if METADATA not in members:
        raise CrateError(f"{path}: no {METADATA}; it is no RO-Crate, export the results again (interp export release)")
    if members[METADATA].file_size > LARGEST_METADATA:
        raise CrateError(f"{path}: {METADATA} is larger than {LARGEST_METADATA} bytes")
    try:
        content = plain_json(archive.read(members[METADATA]))
        graph = content["@graph"]
        files = [entity for entity in graph if "File" in _listed(entity["@type"]) and "sha256" in entity]
        described = {_name(str(entity["@id"])): entity for entity in files}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        told = f"{type(error).__name__}: {error}"
        raise CrateError(f"{path}: {METADATA} does not describe a crate ({told})") from error
    if len(described) != len(files):
        raise CrateError(f"{path}: {METADATA} describes a file twice")
    return described


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _name(identifier: str) -> str:
    return unquote(identifier.removeprefix("./"))


def _same_names(path: Path, held: set[str], described: set[str]) -> None:
    for names, told in ((held - described, "not described in"), (described - held, "missing, though described in")):
        if names:
            first = sorted(names)
            more = f" and {len(first) - 3} more" if len(first) > 3 else ""
            raise CrateError(f"{path}: {', '.join(first[:3])}{more}: {told} {METADATA}")


def _read_by_gate(name: str) -> bool:
    """Whether the gate reads this file of a result folder."""
    parts = PurePosixPath(name).parts
    if len(parts) < 4 or parts[0] != RESULTS:
        return False
    table = len(parts) == 5 and parts[3] == TABLES_FOLDER
    return table or parts[3:] in {(each,) for each in (TESTS_FILE, EXTENDED_FILE, PROVENANCE_FILE, *JUDGED_FILES)}


def _check_content(
    path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, entry: Mapping[str, Any], target: Path | None
) -> None:
    """Hold one file against its described size and hash, and write it out where the gate reads it."""
    digest, size = hashlib.sha256(), 0
    if target is None:
        with archive.open(member) as source:
            size = _copy(source, None, digest)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(member) as source, target.open("xb") as out:
            size = _copy(source, out, digest)
    if str(entry.get("contentSize", size)) != str(size) or digest.hexdigest() != str(entry["sha256"]):
        raise CrateError(
            f"{path}: {member.filename} is not the file that {METADATA} describes (sha256 or size differs)"
        )


def _copy(source: IO[bytes], out: IO[bytes] | None, digest: Any) -> int:
    size = 0
    while block := source.read(_BLOCK):
        size += len(block)
        digest.update(block)
        if out is not None:
            out.write(block)
    return size


def declared_files() -> dict[str, Path]:
    """Files that say what is declared (tests, claims, standards), by their name in a crate."""
    from qc_standards.claims import CLAIMS_FILE
    from qc_standards.standards import STANDARDS_FOLDER

    roots = ((CLAIMS_FILE.parent, "registry"), (STANDARDS_FOLDER, "standards"))
    return {
        f"{DECLARED}/{label}/{found.relative_to(root).as_posix()}": found
        for root, label in roots
        for found in sorted(root.rglob("*"))
        if found.suffix in (".csv", ".yaml")
    }


def _other_declarations(hashes: Mapping[str, str]) -> tuple[str, ...]:
    """Names of declared files that the crate was made with and this installation has otherwise or not at all."""
    here = {name: hashlib.sha256(found.read_bytes()).hexdigest() for name, found in declared_files().items()}
    held = {name: found for name, found in hashes.items() if name.startswith(f"{DECLARED}/")}
    return tuple(sorted(name for name in held.keys() | here.keys() if held.get(name) != here.get(name))) if held else ()
