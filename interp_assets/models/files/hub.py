"""Releases of a model hub: which files a repository holds at one commit, fetched and hashed again.

What belongs here: addresses, commits, the tree of a commit, downloads, errors of the network in one line. What does
not: making a release of the files (`adding`), or saying which release a commit holds before its weights are fetched
(`hub_identity`). Code of a repository is never fetched and never run; no token is sent.

A hub is anything that answers like huggingface.co, named by ``HF_ENDPOINT`` for one of your own. Large files carry
their sha256 in the tree and small ones their git object id, so that every downloaded byte is held against the commit.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha1
from json import JSONDecodeError
from pathlib import Path
from typing import Any, Final

from interp_assets.models.files.adding import (
    Added,
    AddError,
    Request,
    add_release,
    dictionaries_for,
    refuse_full_disk,
)
from interp_assets.models.files.checkpoints import file_sha256, read_json
from interp_assets.models.files.file_rules import FileSizeError, HashMismatchError, TruncatedFileError
from interp_assets.models.files.recognise import CONFIG_LIMIT, Recognised, free_name, recognise, what_is_known
from interp_assets.models.files.releases import MANIFEST

# Bytes that are not those of their commit: a broken download says nothing about the release.
BROKEN_DOWNLOAD: Final = (HashMismatchError, TruncatedFileError)
PUBLIC_HUB: Final = "https://huggingface.co"
# Folders in which repositories keep dictionaries for all of their models.
DICTIONARY_FOLDERS: Final = ("geneformer",)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_ADDRESS = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?P<folder>(/[\w.-]+)*)(@(?P<revision>[\w./-]+))?")


class HubError(ValueError):
    """A hub that does not give what was asked: unknown, private, unreachable or switched off."""


@dataclass(frozen=True, slots=True)
class Address:
    """Repository, folder in it (empty: its top), and revision (branch, tag or commit) of a model on a hub."""

    repo: str
    folder: str = ""
    revision: str = "main"

    @property
    def prefix(self) -> str:
        """What paths of the folder start with."""
        return f"{self.folder}/" if self.folder else ""


def hub_address(text: str) -> Address | None:
    """Address ``org/name[/folder][@revision]``; None for anything else, such as a path on disk.

    >>> hub_address("ctheodoris/Geneformer/Geneformer-V2-104M@04c2b2e")
    Address(repo='ctheodoris/Geneformer', folder='Geneformer-V2-104M', revision='04c2b2e')
    >>> hub_address("./folder"), hub_address("/data/model")
    (None, None)
    """
    found = _ADDRESS.fullmatch(text)
    if found is None or text.startswith((".", "/", "~")) or ".." in text:
        return None
    return Address(found["repo"], found["folder"].strip("/"), found["revision"] or "main")


def hub_endpoint() -> str:
    """Hub that is asked: ``HF_ENDPOINT``, or the public one."""
    return (os.environ.get("HF_ENDPOINT") or PUBLIC_HUB).rstrip("/")


@dataclass(frozen=True)
class HubTree:
    """Files of a repository at one commit (`recognise.Listing` of the folder of its address).

    ``parsed`` keeps JSON by git object id; trees of several commits may share it, so that a file that did not change is
    fetched once.
    """

    address: Address
    endpoint: str
    commit: str
    entries: Mapping[str, Any]
    cache: Path
    parsed: dict[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Repository and commit, for messages."""
        inside = f"/{self.address.folder}" if self.address.folder else ""
        return f"{self.address.repo}{inside}@{self.commit[:12]}"

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """Size in bytes of every file below the folder of the address, by path."""
        prefix = self.address.prefix
        return {
            path.removeprefix(prefix): entry.size for path, entry in self.entries.items() if path.startswith(prefix)
        }

    @property
    def top_folders(self) -> str:
        """Folders at the top of the repository in words, for messages."""
        return ", ".join(sorted({path.split("/")[0] for path in self.entries if "/" in path})) or "none"

    def awaited(self, paths: Iterable[str]) -> int:
        """Bytes of those of some files that do not lie whole in the cache; a file that broke off begins anew."""
        sizes = {path: int(self.entries[path].size) for path in set(paths)}
        there = {path: self.cache / path for path in sizes if (self.cache / path).is_file()}
        kept = {path for path, file in there.items() if file.stat().st_size == sizes[path]}
        return sum(size for path, size in sizes.items() if path not in kept)

    def json(self, path: str) -> Any:
        """Content of one JSON file, fetched."""
        if self.sizes[path] > CONFIG_LIMIT:
            raise FileSizeError(f"{self.place}/{path}", f"{self.sizes[path]} bytes of JSON", "Use the original file.")
        key = str(self.entries[self.address.prefix + path].blob_id)
        if key not in self.parsed:
            self.parsed[key] = read_json(self.fetch(self.address.prefix + path), limit=CONFIG_LIMIT)
        return self.parsed[key]

    def fetch(self, path: str) -> Path:
        """One file of the commit, downloaded into the cache unless it is there, and verified.

        Raises
        ------
        HubError
            If the hub does not give it.
        ReleaseFileError
            If its size or hash is not that of the commit; the broken download is removed.
        """
        from huggingface_hub import hf_hub_download

        with hub_errors(self.address, self.endpoint):
            found = Path(
                hf_hub_download(
                    self.address.repo,
                    path,
                    revision=self.commit,
                    endpoint=self.endpoint,
                    local_dir=self.cache,
                    token=False,
                )
            )
        self._verify(path, found)
        return found

    def _verify(self, path: str, found: Path) -> None:
        entry = self.entries[path]
        size = found.stat().st_size
        remedy = "The broken download is removed; run the command again."
        error: Exception | None = None
        if size != entry.size:
            kind = TruncatedFileError if size < entry.size else FileSizeError
            error = kind(f"{self.place}/{path}", f"{size} of {entry.size} bytes arrived", remedy)
        elif entry.lfs is not None and file_sha256(found) != entry.lfs.sha256:
            told = f"sha256 of the download is not the {entry.lfs.sha256[:16]}... of the commit"
            error = HashMismatchError(f"{self.place}/{path}", told, remedy)
        elif entry.lfs is None and _git_object(found) != entry.blob_id:
            error = HashMismatchError(f"{self.place}/{path}", "the download is not the file of the commit", remedy)
        if error is not None:
            found.unlink()
            raise error


def _git_object(path: Path) -> str:
    """Git's id of a small file: sha1 over a header and the content."""
    content = path.read_bytes()
    return sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def hub_tree(address: Address, cache: Path, endpoint: str = "", parsed: dict[str, Any] | None = None) -> HubTree:
    """Files of a repository at the commit its revision points to now; nothing is downloaded.

    ``endpoint`` is the hub to ask; empty: `hub_endpoint`.

    Raises
    ------
    HubError
        If the repository or revision is unknown or private, the hub unreachable or the machine told to stay offline.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    endpoint = endpoint or hub_endpoint()
    known = _COMMIT.fullmatch(address.revision) is not None
    commit = address.revision if known else head_commit(address, endpoint)
    with hub_errors(address, endpoint):
        api = HfApi(endpoint=endpoint, token=False)
        found = list(api.list_repo_tree(address.repo, recursive=True, revision=commit))
    entries = {item.path: item for item in found if isinstance(item, RepoFile) and _plain(item.path)}
    tree = HubTree(address, endpoint, commit, entries, cache, {} if parsed is None else parsed)
    if address.folder and not tree.sizes:
        raise HubError(f"{address.repo} has no folder {address.folder}; its folders: {tree.top_folders}")
    return tree


def head_commit(address: Address, endpoint: str = "", timeout: float | None = None) -> str:
    """Commit that the revision of an address points to now: one request, at most ``timeout`` seconds a wait.

    Raises
    ------
    HubError
        As `hub_tree`.
    """
    from huggingface_hub import HfApi

    endpoint = endpoint or hub_endpoint()
    with hub_errors(address, endpoint):
        api = HfApi(endpoint=endpoint, token=False)
        commit = str(api.model_info(address.repo, revision=address.revision, timeout=timeout).sha)
    if not _COMMIT.fullmatch(commit):
        raise HubError(f"{endpoint} names no commit of {address.repo} at {address.revision}; is it a hub?")
    return commit


def commits_after(address: Address, known: str, head: str, endpoint: str = "") -> tuple[str, ...]:
    """Commits after ``known`` up to ``head``, oldest first; ``head`` alone where ``known`` is not in its history.

    A branch that was rewritten no longer holds the commit seen last; then nothing but its head can be said to be new.

    Raises
    ------
    HubError
        As `hub_tree`.
    """
    from huggingface_hub import HfApi

    endpoint = endpoint or hub_endpoint()
    with hub_errors(address, endpoint):
        listed = HfApi(endpoint=endpoint, token=False).list_repo_commits(address.repo, revision=head)
        commits = [str(entry.commit_id) for entry in listed]
    if not known or known not in commits:
        return (head,)
    return tuple(reversed(commits[: commits.index(known)]))


def _plain(path: str) -> bool:
    """Whether a path of a tree stays below its repository; others are as good as absent."""
    return not path.startswith("/") and "\\" not in path and ".." not in path.split("/")


def _transport_errors() -> tuple[type[Exception], ...]:
    """Errors of the library that carries the requests: an unreachable host is one of them, and no error of the hub."""
    from huggingface_hub.errors import HfHubHTTPError

    return tuple(base for base in HfHubHTTPError.__mro__ if base.__name__ in ("HTTPError", "RequestException"))


@contextmanager
def hub_errors(address: Address, endpoint: str) -> Iterator[None]:
    """Errors of the hub and of the network, each as one line that names the way out; nothing else goes inside."""
    from huggingface_hub import errors

    others: tuple[type[Exception], ...] = (errors.EntryNotFoundError, errors.HFValidationError, OSError)
    others += _transport_errors()
    try:
        yield
    except errors.GatedRepoError as error:
        way = "fetch it with your own account and add the folder"
        raise HubError(f"{address.repo} is private or asks for consent on {endpoint}; {way}") from error
    except errors.RepositoryNotFoundError as error:
        raise HubError(f"no model {address.repo} on {endpoint}, or it is private; check org/name") from error
    except errors.RevisionNotFoundError as error:
        told = f"{address.repo} on {endpoint} has no revision {address.revision}"
        raise HubError(f"{told}; name a branch, tag or commit after @") from error
    except errors.OfflineModeIsEnabled as error:
        raise HubError("the hub is switched off by HF_HUB_OFFLINE; unset it, or add a folder on disk") from error
    except (TypeError, LookupError, AttributeError, JSONDecodeError) as error:
        told = f"{endpoint} answers for {address.repo}, but not as a hub does"
        raise HubError(f"{told} ({type(error).__name__}); check HF_ENDPOINT and what stands in between") from error
    except others as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        way = "check the network and HF_ENDPOINT, or add a folder on disk"
        raise HubError(f"{endpoint} does not give {address.repo}: {reason}; {way}") from error


def add_from_hub(address: Address, releases: Path, request: Request) -> Added:
    """Release made of the files of a repository that its family needs; the commit is kept in the manifest.

    Files are fetched into a hidden folder beside the releases and kept there until the release is in place, so that
    after an interruption only what had not arrived whole is fetched again.

    Raises
    ------
    HubError, AddError, ReleaseFileError
        As `hub_tree`, `HubTree.fetch` and `adding.add_release`.
    """
    cache = releases / f".download-{free_name(address.repo)}"
    tree = hub_tree(address, cache)
    folder, stated = fetched_release(tree, request)
    added = add_release(folder, releases, stated, linked)
    shutil.rmtree(cache)
    return added


def fetched_release(tree: HubTree, request: Request) -> tuple[Path, Request]:
    """Folder with the fetched and verified files of a release, and the request that makes a release of it.

    Raises
    ------
    HubError, AddError, ReleaseFileError
        As `HubTree.fetch`, and where no family is recognised, dictionaries are lacking or the disk is full.
    """
    address, cache = tree.address, tree.cache
    paths, dictionaries = wanted_files(tree, request)
    every = tuple(dict.fromkeys((*paths, *dictionaries)))
    refuse_full_disk(cache, tree.awaited(every))
    fetched = [tree.fetch(path) for path in every]
    hub = {"endpoint": tree.endpoint, "repo": address.repo, "folder": address.folder, "commit": tree.commit}
    about = {"hub": {**hub, "revision": address.revision}}
    stated = replace(
        request,
        name=request.name or free_name(address.folder or address.repo),
        source=request.source or f"{tree.endpoint}/{address.repo}",
        dictionaries=request.dictionaries or dictionary_folder(cache, dictionaries),
        facts={**about, **request.facts},
    )
    return _only(cache, cache / address.folder if address.folder else cache, fetched), stated


def wanted_files(tree: HubTree, request: Request) -> tuple[Sequence[str], Sequence[str]]:
    """Paths to fetch: those of the release, and dictionaries the repository keeps elsewhere.

    Raises
    ------
    AddError
        If no family is recognised, or the repository has no dictionaries of the vocabulary.
    """
    prefix = tree.address.prefix
    if MANIFEST in tree.sizes:
        content = tree.json(MANIFEST)
        files = content.get("files") if isinstance(content, dict) else None
        named = [str(entry.get("path")) for entry in files or () if isinstance(entry, dict)]
        return [prefix + path for path in (MANIFEST, *named) if path in tree.sizes], ()
    found = recognise(tree, request.family)
    if found is None:
        raise AddError(f"{tree.place}: no family is recognised by the file names; known are: {what_is_known()}")
    inside = [prefix + path for path in (*found.files, *found.dictionaries.values())]
    if not found.awaits_dictionaries or request.dictionaries is not None:
        return inside, ()
    return inside, _elsewhere(tree, found)


def _elsewhere(tree: HubTree, found: Recognised) -> Sequence[str]:
    """Dictionaries in the folders a repository keeps them in, of the size of the vocabulary."""
    for folder in DICTIONARY_FOLDERS:
        inside = {path: entry.size for path, entry in tree.entries.items() if path.startswith(f"{folder}/")}
        named = dictionaries_for(inside, found.vocabulary)
        if "tokens" in named:
            return tuple(named.values())
    told = f"{tree.place}: no dictionaries for a vocabulary of {found.vocabulary} tokens in the repository"
    raise AddError(f"{told}; name a folder that holds them with `--dictionaries`")


def dictionary_folder(cache: Path, paths: Sequence[str]) -> Path | None:
    """Folder with the fetched dictionaries and nothing else; None where none were fetched."""
    if not paths:
        return None
    folder = cache / ".dictionaries"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path in paths:
        linked(cache / path, folder / Path(path).name)
    return folder


def _only(cache: Path, folder: Path, fetched: Sequence[Path]) -> Path:
    """Folder with the fetched files below ``folder``, as the repository lays them out."""
    only = cache / ".only"
    shutil.rmtree(only, ignore_errors=True)
    only.mkdir()
    for path in fetched:
        if path.is_relative_to(folder):
            target = only / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            linked(path, target)
    return only


def linked(origin: Path, target: Path) -> None:
    """The same bytes under a second name where the disk can do that, else a copy."""
    try:
        os.link(origin, target)
    except OSError:
        shutil.copyfile(origin, target)
