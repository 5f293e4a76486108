"""A watched repository of a hub: what its commits since the last look hold, and fetching what is wanted.

What belongs here: going through commits, naming what they hold by id before weights are fetched, and the fetch of one
release. What does not: the requests themselves (`models.files.hub`), or deciding what is new (`diff`, `watch`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from interp_assets.discovery.diff import Listed
from interp_assets.discovery.memory import Memory
from interp_assets.discovery.offers import Arrived, Batch, FetchError, Offer, in_a_line
from interp_assets.discovery.sources import HubSource, Source
from interp_assets.models.files.adding import AddError, Request
from interp_assets.models.files.file_rules import ReleaseFileError
from interp_assets.models.files.hub import (
    BROKEN_DOWNLOAD,
    HubError,
    HubTree,
    commits_after,
    fetched_release,
    head_commit,
    hub_tree,
    linked,
)
from interp_assets.models.files.hub_identity import (
    IncompleteError,
    Stated,
    fetch_small_files,
    identity,
    is_plain,
    model_folders,
    stated_release,
)
from interp_assets.models.files.recognise import free_name
from interp_assets.models.files.releases import MANIFEST

# Commits of one look; of a longer history the rest is the next look's, so that no look is without end.
COMMITS_A_LOOK: Final = 100
HEAD_SECONDS: Final = 10.0


def download_folder(source: Source, releases: Path) -> Path:
    """Hidden folder in which files of a source lie until their release is in place."""
    return releases / f".download-{source.key}"


def newest_commit(source: HubSource) -> str:
    """Commit that the source's revision points to now; one short request.

    Raises
    ------
    HubError
        If the hub does not answer, does not know the repository, or the machine was told to stay offline.
    """
    return head_commit(source.address, source.endpoint, HEAD_SECONDS)


def hub_batches(source: HubSource, memory: Memory, releases: Path, again: bool = False) -> Iterator[Batch]:
    """What every commit since the last look holds, oldest first; only the newest at the first look.

    ``again`` lists what was refused before as if it were seen for the first time.

    Raises
    ------
    HubError
        If the hub stops answering; the commits before have been given.
    """
    head = newest_commit(source)
    commits: tuple[str, ...] = (head,)
    if memory.commit and memory.commit != head:
        commits = commits_after(source.address, memory.commit, head, source.endpoint)[:COMMITS_A_LOOK]
    cache = download_folder(source, releases)
    for begun in cache.rglob("*.incomplete"):  # of a process that was ended; each download begins a file of its own
        begun.unlink(missing_ok=True)
    looking = _Looking(source, memory, cache, again, {})
    for commit in commits:
        yield Batch(commit=commit, offers=tuple(looking.offers(commit)))


@dataclass(frozen=True, slots=True)
class _Looking:
    """One look at a repository; ``parsed`` keeps the configurations that its commits share."""

    source: HubSource
    memory: Memory
    cache: Path
    again: bool
    parsed: dict[str, Any]

    def offers(self, commit: str) -> Iterator[Offer]:
        tree = hub_tree(replace(self.source.address, revision=commit), self.cache, self.source.endpoint, self.parsed)
        folders = model_folders(tree, self.source.folder)
        if not folders:
            inside = f" matching {self.source.folder}" if self.source.folder else ""
            yield self._without_release(tree, "incoming", f"no folder{inside} of {tree.place} holds a model yet")
        for folder in folders:
            yield self._offer(folder, single=len(folders) == 1)

    def _offer(self, tree: HubTree, single: bool) -> Offer:
        request = self.source.request
        try:
            stated = stated_release(tree, request)
        except IncompleteError as error:
            return self._without_release(tree, "incoming", str(error))
        except BROKEN_DOWNLOAD as error:
            return self._broken(tree, in_a_line(error))
        except (AddError, ReleaseFileError) as error:
            return self._without_release(tree, "refused", in_a_line(error))
        if (kind := _kind(tree)) != "release":
            return self._without_release(tree, "refused", f"kind {kind!r} is kept for the platform's own controls")
        listed = replace(
            self._listed(tree),
            name=self._name(tree, single),
            fingerprint=stated.fingerprint,
            size=stated.size,
        )
        return self._identified(stated, listed, request)

    def _identified(self, stated: Stated, listed: Listed, request: Request) -> Offer:
        fetch = partial(_fetched, stated, self.source)
        before = self.memory.settled.get(stated.fingerprint)
        if before is not None and before.outcome == "here":
            return Offer(listed=replace(listed, release_id=before.release_id), fetch=fetch)
        if before is not None and before.outcome == "refused" and not self.again:
            return Offer(listed=replace(listed, state="refused", reason=before.reason), fetch=fetch)
        try:
            fetch_small_files(stated, request)
        except (HubError, ReleaseFileError, OSError) as error:
            return Offer(listed=listed, fetch=fetch, failure=in_a_line(error))
        try:
            return Offer(listed=replace(listed, release_id=identity(stated, request)), fetch=fetch)
        except (AddError, ReleaseFileError) as error:
            return Offer(listed=replace(listed, state="refused", reason=in_a_line(error)), fetch=fetch)

    def _broken(self, tree: HubTree, reason: str) -> Offer:
        """A folder whose configuration arrived broken: a failed fetch of what this commit holds there."""
        offer = self._without_release(tree, "complete", "")
        fingerprint = sha256(f"{offer.listed.place}@{tree.commit}".encode()).hexdigest()
        listed = replace(offer.listed, fingerprint=fingerprint)
        before = self.memory.settled.get(fingerprint)
        if before is not None and before.outcome == "refused" and not self.again:
            return replace(offer, listed=replace(listed, state="refused", reason=before.reason))
        return replace(offer, listed=listed, failure=reason)

    def _listed(self, tree: HubTree) -> Listed:
        place = f"{tree.address.repo}/{tree.address.folder}".rstrip("/")
        return Listed(source=self.source.key, place=place, name=self._name(tree, single=True), commit=tree.commit)

    def _without_release(self, tree: HubTree, state: Any, reason: str) -> Offer:
        def nothing() -> Arrived:
            raise FetchError(reason)

        return Offer(listed=replace(self._listed(tree), state=state, reason=reason), fetch=nothing)

    def _name(self, tree: HubTree, single: bool) -> str:
        """Name a release would like to have: the declared one, that of its manifest, that of its folder."""
        folder = free_name(tree.address.folder)
        if self.source.name:
            alone = single and (is_plain(self.source.folder) or not folder)
            return self.source.name if alone or not folder else f"{self.source.name}-{folder}"
        return _stated_name(tree) or folder or free_name(tree.address.repo)


def _manifest_of(tree: HubTree) -> Mapping[str, Any]:
    content = tree.json(MANIFEST) if MANIFEST in tree.sizes else {}
    return content if isinstance(content, dict) else {}


def _stated_name(tree: HubTree) -> str:
    try:
        name = _manifest_of(tree).get("name")
    except (HubError, ReleaseFileError):
        return ""
    return name if isinstance(name, str) else ""


def _kind(tree: HubTree) -> str:
    return str(_manifest_of(tree).get("kind", "release"))


def _fetched(stated: Stated, source: HubSource) -> Arrived:
    """Files of a release from its commit; those that arrived whole before a fetch broke off are not fetched again."""
    tree = stated.tree
    try:
        folder, request = fetched_release(tree, source.request)
    except (HubError, ReleaseFileError, OSError) as error:
        raise FetchError(in_a_line(error)) from error
    hub = {**request.facts["hub"], "revision": source.revision}
    return Arrived(folder=folder, request=replace(request, facts={"hub": hub}), take=linked, leftover=tree.cache)
