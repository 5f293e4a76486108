"""Which family the files of a folder belong to, by their names and one small configuration; nothing else is opened.

What belongs here: one rule a family, and which files of the folder a release consists of. What does not: checking what
the files hold (`description`), or copying them (`adding`).

A folder on disk and a tree on a hub look the same from here: `Listing`. File names are those of the published folders
(see docs/releases.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from interp_assets.models.adapter import FAMILIES, SCORE_FAMILIES, WITHOUT_ATTENTION
from interp_assets.models.families.geneformer_vocabulary import DICTIONARIES
from interp_assets.models.files.checkpoints import read_json
from interp_assets.models.files.file_rules import ManifestError, UnsafePathError, never_opened
from interp_assets.models.files.releases import MANIFEST, TABLE_SUFFIXES
from interp_assets.models.files.weights import weights_entry

CONFIG_LIMIT: Final = 2**20
LISTED_LIMIT: Final = 10_000
DEPTH: Final = 2
TOKENIZER_FILES: Final = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
TRAINING_STATE: Final = "a pickle of a training run, never opened"


class Listing(Protocol):
    """Files of a folder, wherever it is: paths (POSIX, relative) with sizes, and one JSON file at a time."""

    @property
    def place(self) -> str:
        """Where the folder is, for messages."""
        ...

    @property
    def sizes(self) -> Mapping[str, int]:
        """Size in bytes of every file by path."""
        ...

    def json(self, path: str) -> Any:
        """Content of one JSON file of at most `CONFIG_LIMIT` bytes."""
        ...


@dataclass(frozen=True, slots=True)
class FolderListing:
    """A folder on disk, two levels deep; hidden files are not part of it and links are refused when needed."""

    folder: Path

    @property
    def place(self) -> str:
        """Path of the folder."""
        return str(self.folder)

    @property
    def sizes(self) -> Mapping[str, int]:
        """Size in bytes of every file by path."""
        found: dict[str, int] = {}
        level = [self.folder]
        for _ in range(DEPTH):
            level = [inner for folder in level for inner in self._look(folder, found)]
        return found

    def _look(self, folder: Path, found: dict[str, int]) -> list[Path]:
        inner = []
        for path in sorted(folder.iterdir()):
            if path.name.startswith("."):
                continue
            if path.is_dir() and not path.is_symlink():
                inner.append(path)
            elif path.is_file():
                found[path.relative_to(self.folder).as_posix()] = path.stat().st_size
            if len(found) > LISTED_LIMIT:
                told = f"holds more than {LISTED_LIMIT} files"
                raise UnsafePathError(self.folder, told, "Name the folder of one model.")
        return inner

    def json(self, path: str) -> Any:
        """Content of one JSON file."""
        return read_json(self.folder / path, limit=CONFIG_LIMIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """A family and the files of the folder that make a release of it.

    ``dictionaries`` maps roles (tokens, medians, mapping, names) to files of the folder; ``awaits_dictionaries`` says
    that the family needs tokens and medians and the folder has none. ``left_out`` says of every other file why.
    ``facts`` go into the manifest.
    """

    family: str
    files: tuple[str, ...]
    dictionaries: Mapping[str, str] = field(default_factory=dict)
    awaits_dictionaries: bool = False
    vocabulary: int = 0
    left_out: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Folder:
    """What rules look at: paths, and the configuration where there is one."""

    paths: tuple[str, ...]
    config: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return str(self.config.get("model_type", ""))

    @property
    def vocabulary(self) -> int:
        size = self.config.get("vocab_size")
        return size if isinstance(size, int) else 0

    def held(self, *names: str) -> tuple[str, ...]:
        return tuple(name for name in names if name in self.paths)

    def matching(self, pattern: str) -> tuple[str, ...]:
        return tuple(path for path in self.paths if re.fullmatch(pattern, path))

    def weights(self) -> tuple[str, ...]:
        """The file or index that stands for the weights, with the shards of the index by their names."""
        entry = weights_entry(self.paths)
        if entry is None:
            return ()
        if not entry.endswith(".index.json"):
            return (entry,)
        stem, _, suffix = entry.removesuffix(".index.json").rpartition(".")
        return (entry, *self.matching(rf"{re.escape(stem)}-\d+-of-\d+\.{suffix}"))


def recognise(listing: Listing, family: str = "") -> Recognised | None:
    """Family and files of a folder; None where no rule knows it. ``family`` asks one rule only.

    Raises
    ------
    ReleaseFileError
        If a configuration cannot be read, or the folder lacks what ``family`` needs.
    """
    sizes = listing.sizes
    paths = tuple(path for path in sorted(sizes) if path != MANIFEST and not never_opened(path))
    config = listing.json("config.json") if "config.json" in sizes else {}
    folder = _Folder(paths=paths, config=config if isinstance(config, dict) else {})
    for name, rule in _RULES.items():
        if family in ("", name) and (found := rule(folder)):
            return _with_rest(found, sizes)
    if family in WITHOUT_ATTENTION and paths:
        return _with_rest(Recognised(family=family, files=paths), sizes)
    if family:
        raise ManifestError(listing.place, f"holds no {family} release", f"{needs(family)}")
    return None


def needs(family: str) -> str:
    """What the folder of a family holds, in words.

    Raises
    ------
    ManifestError
        If no family has the name.
    """
    if family not in _NEEDS:
        known = ", ".join(sorted({*FAMILIES, *SCORE_FAMILIES, *WITHOUT_ATTENTION}))
        raise ManifestError(family, "is no family", f"Known families: {known}.")
    return f"A folder of {family} holds {_NEEDS[family]}."


def what_is_known() -> str:
    """What every family's folder holds, in one line."""
    return "; ".join(f"{family}: {_NEEDS[family]}" for family in (*FAMILIES, *sorted(SCORE_FAMILIES)))


def _with_rest(found: Recognised, sizes: Iterable[str]) -> Recognised:
    used = {*found.files, *found.dictionaries.values(), MANIFEST}
    rest = {path: TRAINING_STATE if never_opened(path) else "not needed" for path in sizes if path not in used}
    return Recognised(
        family=found.family,
        files=found.files,
        dictionaries=found.dictionaries,
        awaits_dictionaries=found.awaits_dictionaries,
        vocabulary=found.vocabulary,
        left_out={**rest, **found.left_out},
        facts=found.facts,
    )


def dictionary_files(paths: Iterable[str], tag: str = "") -> dict[str, str]:
    """Dictionaries among paths by role, those whose name carries ``tag`` if there is one.

    Of a JSON file and a pickle of one role the JSON file counts.

    Raises
    ------
    ManifestError
        If several files could be the one of a role: they belong to different vocabularies.
    """
    found: dict[str, str] = {}
    ordered = sorted(paths)
    for role, prefixes in DICTIONARIES.items():
        named = [
            path
            for path in ordered
            if (name := path.rsplit("/", 1)[-1]).startswith(prefixes)
            and name.endswith((".json", ".pkl", ".pickle"))
            and tag in name
        ]
        plain = [path for path in named if path.endswith(".json")] or named
        if len(plain) > 1:
            told = f"could each be the {role} dictionary"
            raise ManifestError(", ".join(plain), told, "Keep those the weights were trained with in one folder.")
        if plain:
            found[role] = plain[0]
    return found


def _geneformer(folder: _Folder) -> Recognised | None:
    weights = folder.weights()
    if folder.kind != "bert" or not weights:
        return None
    inside = dictionary_files(path for path in folder.paths if "/" not in path)
    return Recognised(
        family="geneformer",
        files=("config.json", *weights),
        dictionaries=inside,
        awaits_dictionaries=not {"tokens", "medians"} <= set(inside),
        vocabulary=folder.vocabulary,
    )


def _scgpt(folder: _Folder) -> Recognised | None:
    files = folder.held("args.json", "vocab.json")
    weights = folder.weights()
    if len(files) < 2 or not weights:
        return None
    return Recognised(family="scgpt", files=(*files, *weights), facts={"gene_key": "symbol"})


def _c2s(folder: _Folder) -> Recognised | None:
    weights, tokenizer = folder.weights(), folder.held(*TOKENIZER_FILES)
    if folder.kind not in ("gpt_neox", "llama") or not weights or "tokenizer.json" not in tokenizer:
        return None
    files = ("config.json", *tokenizer, *weights)
    return Recognised(family="c2s", files=files, vocabulary=folder.vocabulary, facts={"gene_key": "symbol"})


def _maxtoki(folder: _Folder) -> Recognised | None:
    weights = folder.weights()
    inside = dictionary_files(path for path in folder.paths if "/" not in path)
    text = "tokenizer.json" in folder.paths and "tokens" not in inside
    if folder.kind != "llama" or not weights or text:
        return None
    return Recognised(
        family="maxtoki",
        files=("config.json", *weights),
        dictionaries=inside,
        awaits_dictionaries=not {"tokens", "medians"} <= set(inside),
        vocabulary=folder.vocabulary,
    )


def _edge_table(folder: _Folder) -> Recognised | None:
    tables = tuple(path for path in folder.paths if path.endswith(TABLE_SUFFIXES))
    if len(tables) != 1 or folder.weights() or folder.kind:
        return None
    return Recognised(family="edge_table", files=tables, facts={"gene_key": "symbol"})


def _named(family: str, *patterns: str) -> Callable[[_Folder], Recognised | None]:
    """Rule of a family that is known by its file names: every pattern is met by at least one file."""

    def rule(folder: _Folder) -> Recognised | None:
        found = [folder.matching(pattern) for pattern in patterns]
        if not all(found):
            return None
        return Recognised(family=family, files=tuple(sorted({path for paths in found for path in paths})))

    return rule


# Asked in this order; the first that knows the folder counts. Distinctive names come before general ones.
_RULES: Final[Mapping[str, Callable[[_Folder], Recognised | None]]] = {
    "tahoe_x1": _named(
        "tahoe_x1", r"model_config\.ya?ml", r"collator_config\.ya?ml", r"vocab\.json", r".*\.safetensors"
    ),
    "transcriptformer": _named("transcriptformer", r"model_weights\.pt", r"config\.json", r"vocabs/.*\.h5"),
    "cellplm": _named("cellplm", r".*\.best\.ckpt", r".*\.config\.json"),
    "scfoundation": _named("scfoundation", r"models\d*\.ckpt", r".*19264.*\.tsv"),
    "uce": _named("uce", r"(4layer_model|33l_.*|\d+l_.*1280)\.torch"),
    "state": _named("state", r".*\.(ckpt|safetensors)", r"(protein_embeddings|pert_onehot_map)\.(pt|torch)"),
    "scprint": _named("scprint", r"(v2-)?(small|medium|large)(-v?\d.*)?\.ckpt"),
    "geneformer": _geneformer,
    "scgpt": _scgpt,
    "maxtoki": _maxtoki,
    "c2s": _c2s,
    "scvi": _named("scvi", r"model\.pt"),
    "edge_table": _edge_table,
}
_NEEDS: Final[Mapping[str, str]] = {
    "geneformer": "config.json (bert), model.safetensors or pytorch_model.bin, a token and a median dictionary",
    "scgpt": "args.json, vocab.json and best_model.pt",
    "c2s": "config.json (gpt_neox or llama), tokenizer.json and weights",
    "maxtoki": "config.json (llama), weights, a token and a median dictionary",
    "edge_table": f"one table ({', '.join(TABLE_SUFFIXES)}) and no weights",
    **dict.fromkeys(WITHOUT_ATTENTION, "its published files"),
}


def free_name(place: str) -> str:
    """Release name for a folder or repository: its last part with other signs as hyphens.

    >>> free_name("models/My model (v2)/"), free_name("ctheodoris/Geneformer/Geneformer-V2-104M")
    ('My-model-v2', 'Geneformer-V2-104M')
    """
    last: Sequence[str] = [part for part in place.replace("\\", "/").split("/") if part]
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", last[-1] if last else "").strip("-.")
