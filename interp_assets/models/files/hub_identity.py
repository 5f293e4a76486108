"""Which release a commit of a hub holds, said before its weights are fetched.

What belongs here: the folders of a repository that hold a model, the id that `adding.add_release` will give to one, and
a fingerprint that tells equal commits apart from others without fetching anything. What does not: fetching the weights
(`hub`), or deciding what is new (`interp_assets.discovery`).

The id of a release is a hash over path, size and sha256 of its files. Large files carry their sha256 in the tree of a
commit; small ones (configuration, vocabulary) are fetched and hashed, and pickled dictionaries turned into the JSON
that the release will hold. So the id is exact, and a README, a tag or another folder does not change it.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from interp_assets.models.files.adding import AddError, Request, dictionaries_taken, dictionary_parts
from interp_assets.models.files.checkpoints import ReleaseFile, file_sha256, listed_files
from interp_assets.models.files.file_rules import ReleaseFileError
from interp_assets.models.files.hub import BROKEN_DOWNLOAD, Address, HubTree, dictionary_folder, wanted_files
from interp_assets.models.files.recognise import CONFIG_LIMIT, recognise
from interp_assets.models.files.releases import MANIFEST, release_id

# Larger files without a sha256 in the tree are not fetched to learn an id; the id is then known after the download.
FETCHED_FOR_ID: Final = 64 * 2**20
# Families whose files say little; a folder somewhere in a repository is not taken for one of them.
NAMED_ONLY: Final = ("edge_table", "scvi")


class IncompleteError(ValueError):
    """A folder of a commit that is on its way to be a release: what is awaited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What a commit states of one release.

    ``paths`` are the files of the release, from the top of the repository; ``size`` the bytes still to be fetched.
    ``fingerprint`` is equal for commits and folders that hold the same files and costs no download beyond one small
    configuration.
    """

    tree: HubTree
    family: str
    paths: tuple[str, ...]
    dictionaries: tuple[str, ...]
    size: int
    fingerprint: str


def model_folders(tree: HubTree, pattern: str) -> tuple[HubTree, ...]:
    """Trees of the folders of a commit that hold a model, its top among them, in path order.

    ``pattern`` is a folder, a shell pattern over folders such as ``Geneformer-V2-*``, or empty for all of them. A plain
    folder is always returned, so that what it lacks can be told; so is one whose configuration arrived broken.

    Raises
    ------
    HubError
        If the hub does not give a configuration.
    """
    if is_plain(pattern):
        return (_below(tree, pattern),)
    folders = sorted({str(Path(path).parent) for path in tree.entries})
    matching = ["" if name == "." else name for name in folders]
    if pattern:
        matching = [name for name in matching if fnmatch.fnmatchcase(name, pattern)]
    return tuple(below for name in matching if _holds_model(below := _below(tree, name)))


def is_plain(pattern: str) -> bool:
    """Whether a pattern is the path of one folder.

    >>> is_plain("Geneformer-V2-104M"), is_plain("Geneformer-V2-*"), is_plain("")
    (True, False, False)
    """
    return bool(pattern) and not any(sign in pattern for sign in "*?[")


def _below(tree: HubTree, folder: str) -> HubTree:
    return HubTree(
        Address(tree.address.repo, folder, tree.address.revision),
        tree.endpoint,
        tree.commit,
        tree.entries,
        tree.cache,
        tree.parsed,
    )


def _holds_model(tree: HubTree) -> bool:
    if MANIFEST in tree.sizes:
        return True
    try:
        found = recognise(tree)
    except BROKEN_DOWNLOAD:
        return True  # what it holds is not known yet, and nobody may take that for nothing
    except ReleaseFileError:
        return False  # some other configuration than that of a model
    return found is not None and found.family not in NAMED_ONLY


def stated_release(tree: HubTree, request: Request) -> Stated:
    """What the commit of a tree states of the release in its folder.

    Raises
    ------
    IncompleteError
        If files are still awaited: no family is recognised yet, or a manifest or index lists what is not there.
    AddError, ReleaseFileError, HubError
        If the folder cannot become a release as it is, or the hub does not give a configuration.
    """
    if not tree.sizes:
        told = f"{tree.address.repo} has no folder {tree.address.folder} at {tree.commit[:12]}"
        raise IncompleteError(f"{told}; its folders: {tree.top_folders}")
    if MANIFEST in tree.sizes:
        family, awaited = _of_manifest(tree)
    else:
        found = recognise(tree, request.family)
        if found is None:
            raise IncompleteError(f"{tree.place}: no family is recognised by the file names yet")
        family, awaited = found.family, _shards_awaited(tree, found.files)
    if awaited:
        raise IncompleteError(f"{tree.place}: waiting for {', '.join(awaited[:5])}")
    paths, dictionaries = wanted_files(tree, request)
    every = tuple(dict.fromkeys((*paths, *dictionaries)))
    return Stated(
        tree=tree,
        family=family,
        paths=tuple(paths),
        dictionaries=tuple(dictionaries),
        size=tree.awaited(every),
        fingerprint=_fingerprint(tree, family, every, request),
    )


def _of_manifest(tree: HubTree) -> tuple[str, Sequence[str]]:
    content = tree.json(MANIFEST)
    stated = content if isinstance(content, dict) else {}
    files = listed_files(Path(f"{tree.place}/{MANIFEST}"), stated.get("files"))
    return str(stated.get("family", "")), [file.path for file in files if file.path not in tree.sizes]


def _shards_awaited(tree: HubTree, files: Sequence[str]) -> Sequence[str]:
    awaited: set[str] = set()
    for path in files:
        if path.endswith(".index.json") and tree.sizes[path] <= CONFIG_LIMIT:
            content = tree.json(path)
            named = content.get("weight_map") if isinstance(content, dict) else None
            awaited |= set(map(str, named.values())) if isinstance(named, dict) else set()
    return sorted(awaited - set(tree.sizes))


def _fingerprint(tree: HubTree, family: str, paths: Sequence[str], request: Request) -> str:
    """Hash over the files a commit gives to the release, by the ids its tree states, and over what is asked besides."""
    lines = []
    for path in paths:
        entry = tree.entries[path]
        own = entry.lfs.sha256 if entry.lfs is not None else f"git:{entry.blob_id}"
        lines.append(f"{path.removeprefix(tree.address.prefix)}\t{entry.size}\t{own}")
    asked = (family, request.family, request.gene_key, str(request.dictionaries or ""))
    return sha256("\n".join([*asked, *sorted(lines)]).encode()).hexdigest()


def fetch_small_files(stated: Stated, request: Request) -> None:
    """Fetch what `identity` reads: dictionaries and the files without a sha256 in the tree; never weights.

    Raises
    ------
    HubError, ReleaseFileError
        If the hub does not give a file, or other bytes than its commit states; worth another try.
    """
    for path in _small_files(stated, request):
        stated.tree.fetch(path)


def _small_files(stated: Stated, request: Request) -> tuple[str, ...]:
    tree, dictionaries = stated.tree, set(stated.dictionaries)
    if MANIFEST in tree.sizes:
        return ()
    found = recognise(tree, request.family)
    if found is not None and request.dictionaries is None:
        dictionaries |= {tree.address.prefix + path for path in found.dictionaries.values()}
    own = {path for path in stated.paths if tree.entries[path].lfs is None} | dictionaries
    return tuple(sorted(path for path in own if tree.entries[path].size <= FETCHED_FOR_ID))


def identity(stated: Stated, request: Request) -> str:
    """Id that the release will have once it is fetched; empty where only the download can tell.

    Reads the files of `fetch_small_files`; weights are not fetched.

    Raises
    ------
    AddError, ReleaseFileError
        If a dictionary or configuration breaks a rule.
    """
    tree = stated.tree
    if MANIFEST in tree.sizes:
        return release_id(stated.family, listed_files(Path(MANIFEST), tree.json(MANIFEST)["files"]))
    prefix = tree.address.prefix
    found = recognise(tree, request.family)
    if found is None:
        raise AddError(f"{tree.place}: no family is recognised by the file names")
    files = [_listed(tree, prefix + path) for path in found.files]
    inside = [prefix + path for path in found.dictionaries.values()] if request.dictionaries is None else []
    if not all(files) or any(tree.entries[path].size > FETCHED_FOR_ID for path in (*inside, *stated.dictionaries)):
        return ""
    folder = request.dictionaries or dictionary_folder(tree.cache, stated.dictionaries)
    taken = dictionaries_taken(tree.cache / tree.address.folder, found, replace(request, dictionaries=folder))
    parts, _ = dictionary_parts(taken)
    listed = [file for file in files if file is not None]
    return release_id(stated.family, [*listed, *(part.listed() for part in parts.values())])


def _listed(tree: HubTree, path: str) -> ReleaseFile | None:
    """One file as the release will list it; None where its sha256 is neither stated nor cheap to learn."""
    entry: Any = tree.entries[path]
    inside = path.removeprefix(tree.address.prefix)
    if entry.lfs is not None:
        return ReleaseFile(inside, entry.size, entry.lfs.sha256)
    if entry.size > FETCHED_FOR_ID:
        return None
    return ReleaseFile(inside, entry.size, file_sha256(tree.fetch(path)))
