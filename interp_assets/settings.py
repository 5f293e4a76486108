"""Frozen settings: studies read from YAML, and the folders a run reads and writes.

What belongs here: anything a person may set. What does not: values derived from data.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import yaml

from interp_assets.battery_settings import BatterySettings
from qc_standards.yaml_text import plain_yaml

if TYPE_CHECKING:
    from interp_assets.models.adapter import Encoding

PACKAGE = Path(__file__).resolve().parent
PROJECT = PACKAGE.parent
ROLE = re.compile(r"[a-z_]+(\[[1-9]\])?")
STUDY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
STORE_ROOMS = (
    "attention",
    "calibration",
    "cells",
    "history",
    "quarantine",
    "releases",
    "studies",
)  # folders beside those of studies
FITS = ("full", "partial")
SELECTION_ROLE = "layer_selection"
PAIRED_ROLES = ("species_pair",)
EDGE_RULES = ("softmax_mean", "double_rank")
# Roles whose screens are set side by side whenever a test reads them.
COMPARED_ROLES = ("primary_screen", "second_screen", "other_line_screen", "small_screens[1]", "small_screens[2]")
PLANTED_REFERENCE = "planted"  # the network that was planted in a screen; no file describes it


class SettingsError(ValueError):
    """A study file that cannot be used; the message names file, key and remedy."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Where a run reads releases and writes artefacts; each can be set by one environment variable."""

    store: Path
    releases: Path
    wheels: Path
    config: Path | None

    @classmethod
    def from_environment(cls) -> Folders:
        """Folders named by INTERP_STORE, INTERP_RELEASES, INTERP_DATA_WHEELS and INTERP_CONFIG_DIR."""
        config = os.environ.get("INTERP_CONFIG_DIR")
        return cls(
            store=_folder("INTERP_STORE", "store"),
            releases=_folder("INTERP_RELEASES", "releases"),
            wheels=_folder("INTERP_DATA_WHEELS", "data-wheels"),
            config=Path(config).resolve() if config else None,
        )

    @property
    def dagster_home(self) -> Path:
        """Folder of the run history; kept inside the store so that both move together."""
        return self.store / ".dagster"


def _folder(variable: str, default: str) -> Path:
    value = os.environ.get(variable)
    return Path(value).resolve() if value else PROJECT / default


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionSettings:
    """How attention is extracted: device, number format, heads, memory for the sums, padded tokens of a batch.

    ``heads`` is ``auto`` (all of them if their sums fit ``memory_gib``, else the mean), ``all``, ``mean``, or a list of
    layer.head such as ``"0.3, 5.11"`` (`models.attention.budget`); sums that do not fit at once take several passes.
    ``edge_rule`` is ``softmax_mean`` or ``double_rank`` (`models.attention.edge_rules`). The rest reaches families
    whose encoding of cells leaves a choice (`models.adapter.Encoding`): ``zeros`` are dropped or kept, ``bin_ties``
    random or left.
    ``scheduler`` is the address of a dask scheduler whose workers add the shards (empty: this process does).
    """

    device: str = "auto"
    dtype: str = "float32"
    heads: str = "auto"
    memory_gib: float = 0.6
    batch_tokens: int = 2048
    edge_rule: str = "softmax_mean"
    zeros: str = "drop"
    bin_ties: str = "random"
    encoding_seed: int = 0
    scheduler: str = ""

    def __post_init__(self) -> None:
        """Refuse words that mean nothing, before anything runs."""
        if self.edge_rule not in EDGE_RULES:
            raise ValueError(f"edge_rule = {self.edge_rule!r}; use {' or '.join(EDGE_RULES)}")
        if self.memory_gib <= 0 or self.batch_tokens < 1:
            raise ValueError(f"memory_gib = {self.memory_gib}, batch_tokens = {self.batch_tokens}; use more than 0")
        from interp_assets.models.attention.budget import heads_text

        object.__setattr__(self, "heads", heads_text(self.heads))
        _ = self.encoding

    @property
    def encoding(self) -> Encoding:
        """How cells are encoded by families that leave a choice."""
        from interp_assets.models.adapter import Encoding

        return Encoding(zeros=self.zeros, ties=self.bin_ties, seed=self.encoding_seed)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleFilling:
    """The dataset that fills a role, and how well it fits what the role stands for.

    ``partner`` is the second dataset of a role that compares two, such as the other species of ``species_pair``.
    """

    dataset: str
    role_fit: str
    note: str = ""
    partner: str = ""

    @property
    def datasets(self) -> tuple[str, ...]:
        """The dataset, and the partner where there is one."""
        return (self.dataset, self.partner) if self.partner else (self.dataset,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A mapping from roles to datasets plus settings; the unit in which a release is judged.

    ``layer_reference`` is the network whose recovery on the `SELECTION_ROLE` dataset chooses the layer.
    ``compared_screens`` are the roles whose screens are set side by side beyond the ones the tests read,
    ``published_context``: the roles hold what the published study used, so that its numbers can be held against ours.
    ``on_request``: it is part of a deployment only where it is named, by ``INTERP_STUDIES`` or on the command line.
    ``tf_catalogue`` a list of transcription factors, ``vocabularies`` published tokenisers whose reach on each
    screen is counted. ``reference_sets`` are the databases that attention is compared with layer by layer, name of the
    database -> dataset.
    """

    name: str
    title: str
    roles: Mapping[str, RoleFilling]
    primary_reference: str
    references: tuple[str, ...]
    attention: AttentionSettings
    battery: BatterySettings
    seed: int
    for_tests: bool
    path: Path
    layer_reference: str = ""
    compared_screens: tuple[str, ...] = ()
    tf_catalogue: str = ""
    vocabularies: tuple[str, ...] = ()
    published_context: bool = False
    on_request: bool = False
    reference_sets: Mapping[str, str] = field(default_factory=dict)

    def dataset_of(self, role: str) -> str | None:
        """Dataset that fills ``role``, or None when the study leaves it empty."""
        filling = self.roles.get(role)
        return filling.dataset if filling else None

    @property
    def datasets(self) -> tuple[str, ...]:
        """Datasets of all roles, each once, in role order."""
        return tuple(dict.fromkeys(name for filling in self.roles.values() for name in filling.datasets))


def load_study(path: Path, known_datasets: frozenset[str] | None = None) -> Study:
    """Study described by one YAML file.

    Raises
    ------
    SettingsError
        Naming file, key and remedy: a file name that is no name of a folder, unreadable YAML, unknown or missing keys,
        an unknown role fit, or a dataset that ``known_datasets`` does not hold.
    """
    if not STUDY_NAME.fullmatch(path.stem) or path.stem in STORE_ROOMS:
        raise SettingsError(
            f"{path}: the name of the file is that of the study and of its folder in the store; use letters, digits, "
            f"- and _, and none of {', '.join(STORE_ROOMS)}"
        )
    raw = _mapping(path)
    _only(path, "study", raw, {item.name for item in fields(Study)} - {"name", "path"})
    for key in ("title", "roles", "primary_reference"):
        if key not in raw:
            raise SettingsError(f"{path}: key `{key}` is missing; every study needs it")
    if not isinstance(raw["roles"], dict) or not raw["roles"]:
        raise SettingsError(f"{path}: `roles` must map at least one role, such as primary_screen, to a dataset")
    roles = {str(role): _filling(path, str(role), value, known_datasets) for role, value in raw["roles"].items()}
    primary, references = _references(path, raw, known_datasets)
    compared = _compared(path, raw, roles)
    named = {key: _named(path, raw, key, known_datasets) for key in ("layer_reference", "tf_catalogue")}
    return Study(
        name=path.stem,
        title=_title(path, raw),
        roles=MappingProxyType(roles),
        primary_reference=primary,
        references=references,
        attention=_section(path, "attention", raw.get("attention", {}), AttentionSettings),
        battery=_section(path, "battery", raw.get("battery", {}), BatterySettings),
        seed=_seed(path, raw),
        for_tests=_truth(path, raw, "for_tests"),
        path=path,
        compared_screens=compared,
        vocabularies=_listed(path, raw, "vocabularies", known_datasets),
        published_context=_truth(path, raw, "published_context"),
        on_request=_truth(path, raw, "on_request"),
        reference_sets=_databases(path, raw, known_datasets),
        **named,
    )


def _mapping(path: Path) -> dict[str, Any]:
    try:
        raw = plain_yaml(path.read_bytes())
    except (OSError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: cannot be read as YAML ({error})") from error
    if not isinstance(raw, dict):
        raise SettingsError(f"{path}: expected a mapping at the top, found {type(raw).__name__}")
    return raw


def _only(path: Path, where: str, given: Mapping[str, Any], allowed: set[str]) -> None:
    unknown = sorted(map(str, set(given) - allowed))
    if unknown:
        raise SettingsError(
            f"{path}: {where} has unknown key(s) {', '.join(unknown)}; known: {', '.join(sorted(allowed))}"
        )


def _references(path: Path, raw: Mapping[str, Any], known: frozenset[str] | None) -> tuple[str, tuple[str, ...]]:
    """Primary reference, and all references with the primary one first."""
    primary, further = raw["primary_reference"], raw.get("references", [])
    if not isinstance(primary, str) or not isinstance(further, list):
        raise SettingsError(f"{path}: `primary_reference` must be one name and `references` a list of names")
    names = tuple(dict.fromkeys([primary, *map(str, further)]))
    unknown = [name for name in names if known is not None and name not in (known | {PLANTED_REFERENCE})]
    if unknown:
        raise SettingsError(
            f"{path}: `references` names {', '.join(unknown)}, which no dataset file describes; "
            f"use {PLANTED_REFERENCE} or one of: {', '.join(sorted(known or ()))}"
        )
    return primary, names


def _compared(path: Path, raw: Mapping[str, Any], roles: Mapping[str, RoleFilling]) -> tuple[str, ...]:
    """Roles whose screens are compared; each must be filled."""
    wanted = _listed(path, raw, "compared_screens", None)
    empty = [role for role in wanted if role not in roles]
    if empty:
        raise SettingsError(f"{path}: `compared_screens` names {', '.join(empty)}, which `roles` does not fill")
    if SELECTION_ROLE in wanted:
        raise SettingsError(
            f"{path}: `compared_screens` names {SELECTION_ROLE}, whose cells choose the layer and are no screen; "
            "leave it out"
        )
    return wanted


def _listed(path: Path, raw: Mapping[str, Any], key: str, known: frozenset[str] | None) -> tuple[str, ...]:
    """Names in a list; each must be a dataset where ``known`` is given."""
    found = raw.get(key, [])
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise SettingsError(f"{path}: `{key}` must be a list of names, found {found!r}")
    for name in found if known is not None else ():
        _check_dataset(path, key, name, known)
    return tuple(dict.fromkeys(found))


def _truth(path: Path, raw: Mapping[str, Any], key: str) -> bool:
    """A yes or no, no by default; YAML's words in quotes are text and would all count as yes."""
    found = raw.get(key, False)
    if not isinstance(found, bool):
        raise SettingsError(f"{path}: `{key}` must be true or false, found {found!r}")
    return found


def _named(path: Path, raw: Mapping[str, Any], key: str, known: frozenset[str] | None) -> str:
    """One dataset name, or nothing."""
    found = raw.get(key, "")
    if not isinstance(found, str):
        raise SettingsError(f"{path}: `{key}` must be one name, found {found!r}")
    if found:
        _check_dataset(path, key, found, known)
    return found


def _databases(path: Path, raw: Mapping[str, Any], known: frozenset[str] | None) -> Mapping[str, str]:
    """Databases by name, each a dataset."""
    found = raw.get("reference_sets", {})
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in (*found, *found.values())):
        raise SettingsError(f"{path}: `reference_sets` must map names of databases to datasets, found {found!r}")
    for name in found.values():
        _check_dataset(path, "reference_sets", name, known)
    return MappingProxyType(dict(found))


def _check_dataset(path: Path, key: str, name: str, known: frozenset[str] | None) -> None:
    if known is not None and name not in known:
        raise SettingsError(f"{path}: `{key}` names {name}, which no dataset file describes")


def _filling(path: Path, role: str, value: Any, known: frozenset[str] | None) -> RoleFilling:
    if not ROLE.fullmatch(role):
        raise SettingsError(f"{path}: `{role}` is no role name; write it like primary_screen or tissues[1]")
    entry = {"dataset": value} if isinstance(value, str) else value
    if not isinstance(entry, dict) or "dataset" not in entry:
        raise SettingsError(f"{path}: role `{role}` needs a dataset name")
    _only(path, f"role `{role}`", entry, {"dataset", "role_fit", "note", "partner"})
    fit = entry.get("role_fit", "full")
    if fit not in FITS:
        raise SettingsError(f"{path}: role `{role}` has role_fit {fit!r}; use one of {', '.join(FITS)}")
    filling = RoleFilling(
        dataset=str(entry["dataset"]),
        role_fit=fit,
        note=str(entry.get("note", "")),
        partner=str(entry.get("partner", "")),
    )
    if bool(filling.partner) != (role in PAIRED_ROLES):
        told = "needs a `partner` dataset" if role in PAIRED_ROLES else "takes no `partner`"
        raise SettingsError(f"{path}: role `{role}` {told}; roles of two datasets: {', '.join(PAIRED_ROLES)}")
    for dataset in filling.datasets:
        if known is not None and dataset not in known:
            raise SettingsError(
                f"{path}: role `{role}` names dataset `{dataset}`, which no dataset file describes; "
                f"add datasets/{dataset}.yaml to the configuration folder or use: {', '.join(sorted(known))}"
            )
    return filling


def _section(path: Path, name: str, given: Any, kind: type[Any]) -> Any:
    if not isinstance(given, dict):
        raise SettingsError(f"{path}: `{name}` must be a mapping")
    defaults = kind()
    _only(path, name, given, {item.name for item in fields(kind)})
    values = {key: _setting(f"{path}: {name}.{key}", getattr(defaults, key), value) for key, value in given.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise SettingsError(f"{path}: {name}: {error}") from error


def _setting(where: str, wanted: Any, value: Any) -> Any:
    """A value as the default has it: a number, a list of whole numbers, or some numbers of a mapping by name."""
    shaped = type(value) is type(wanted)
    if isinstance(wanted, tuple):
        shaped = isinstance(value, list) and bool(value) and all(type(item) is int for item in value)
    elif isinstance(wanted, Mapping):
        shaped = isinstance(value, dict) and all(type(item) in (int, float) for item in value.values())
        shaped = shaped and set(value) <= set(wanted)
    elif isinstance(wanted, float):
        shaped = type(value) in (int, float)
    if not shaped:
        kind = {"tuple": "list", "mappingproxy": "mapping"}.get(type(wanted).__name__, type(wanted).__name__)
        raise SettingsError(f"{where} is {value!r:.80}; expected a {kind} such as {wanted!r}")
    numbers = value if isinstance(value, list) else value.values() if isinstance(value, dict) else [value]
    # A comparison that no NaN holds; larger numbers than these are no counts that a float keeps.
    if any(not isinstance(item, str | bool) and not 0 <= item < 2**53 for item in numbers):
        raise SettingsError(f"{where} is {value!r:.80}; use a finite number, 0 or more")
    if isinstance(wanted, tuple):
        return tuple(value)
    return MappingProxyType({**wanted, **value}) if isinstance(wanted, Mapping) else type(wanted)(value)


def _title(path: Path, raw: Mapping[str, Any]) -> str:
    if not isinstance(raw["title"], str) or not raw["title"].strip():
        raise SettingsError(f"{path}: `title` must be a text, found {raw['title']!r:.80}")
    return raw["title"]


def _seed(path: Path, raw: Mapping[str, Any]) -> int:
    found = raw.get("seed", 0)
    if type(found) is not int or not 0 <= found < 2**32:
        raise SettingsError(f"{path}: `seed` must be a whole number from 0 to {2**32 - 1}, found {found!r:.80}")
    return found


def study_files(config: Path | None) -> dict[str, Path]:
    """Study files by name; a file in the configuration folder replaces the shipped one of the same name."""
    folders = [PACKAGE / "studies", *([config / "studies"] if config else [])]
    return {path.stem: path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*.yaml"))}


@cache
def _studies(config: Path | None, wanted: str, known: frozenset[str] | None) -> Mapping[str, Study]:
    every = {name: load_study(path, known) for name, path in study_files(config).items()}
    if wanted:
        names = [name.strip() for name in wanted.split(",") if name.strip()]
        unknown = sorted(set(names) - set(every))
        if unknown:
            raise SettingsError(f"INTERP_STUDIES names unknown study {', '.join(unknown)}; known: {', '.join(every)}")
        return MappingProxyType({name: every[name] for name in names})
    return MappingProxyType({name: study for name, study in every.items() if not (study.for_tests or study.on_request)})


def studies(config: Path | None = None, known_datasets: frozenset[str] | None = None) -> Mapping[str, Study]:
    """Studies of this deployment by name.

    ``INTERP_STUDIES`` (comma separated) selects among them; without it every study is taken except those
    marked ``for_tests`` and those marked ``on_request``, which may download gigabytes.
    """
    return _studies(config, os.environ.get("INTERP_STUDIES", ""), known_datasets)
