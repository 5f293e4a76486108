"""A model hub on this machine: one repository with commits, tags and files, answering as the public hub does.

Serves what `huggingface_hub` asks for: model information, refs, commits, trees, path information, files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

LARGE = (".safetensors", ".bin", ".pkl", ".pt", ".parquet")


def git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Hub:
    """Repository ``repo``; ``commits`` maps commit ids to files, ``refs`` names to commits, newest commit last.

    ``broken`` replaces what a path delivers; ``short`` are paths whose last bytes never arrive. ``refusing`` is a
    status with which every question to the API is answered instead, such as 429; 0 answers them.
    """

    repo: str
    commits: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    broken: dict[str, bytes] = field(default_factory=dict)
    short: set[str] = field(default_factory=set)
    refusing: int = 0
    asked: list[str] = field(default_factory=list)
    endpoint: str = ""

    def commit(self, files: Mapping[str, bytes], *refs: str) -> str:
        number = len(self.commits) + 1
        name = hashlib.sha1(f"commit {number}".encode()).hexdigest()
        self.commits[name] = dict(files)
        self.refs |= dict.fromkeys(("main", *refs), name)
        return name

    def history(self, commit: str) -> list[dict[str, Any]]:
        """Commits up to one, newest first as the public hub lists them."""
        names = list(self.commits)
        told = {"title": "", "message": "", "authors": [], "date": "2026-01-01T00:00:00.000Z"}
        return [{"id": name, **told} for name in reversed(names[: names.index(commit) + 1])]

    def entry(self, path: str, content: bytes) -> dict[str, Any]:
        told: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": git_id(content)}
        if path.endswith(LARGE):
            told["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        return told


class HubServer(ThreadingHTTPServer):
    def __init__(self, hub: Hub) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.hub = hub


class Handler(BaseHTTPRequestHandler):
    server: HubServer

    @property
    def hub(self) -> Hub:
        return self.server.hub

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, status: int, body: bytes, head: Mapping[str, str] | None = None, short: bool = False) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(head or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if short else body)

    def told(self, content: Any) -> None:
        self.answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def refuse(self, code: str) -> None:
        self.answer(404, b"{}", {"X-Error-Code": code, "X-Error-Message": code})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        wanted = json.loads(self.rfile.read(length) or b"{}").get("paths", [])
        commit = self.hub.commits[self.path.rsplit("/", 1)[-1]]
        self.told([self.hub.entry(path, commit[path]) for path in wanted if path in commit])

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        self.hub.asked.append(f"{self.command} {path}")
        api, files = f"/api/models/{self.hub.repo}", f"/{self.hub.repo}/resolve/"
        if path.startswith(files):
            self.file(*path.removeprefix(files).split("/", 1))
        elif self.hub.refusing and path.startswith("/api/"):
            self.answer(self.hub.refusing, b"{}")
        elif path == api or path.startswith(f"{api}/"):
            self.api(path.removeprefix(api).strip("/").partition("/"))
        else:
            self.refuse("RepoNotFound")

    def api(self, asked: tuple[str, str, str]) -> None:
        kind, _, revision = asked
        if kind == "refs":
            tags = [{"name": name, "ref": f"refs/{name}", "targetCommit": to} for name, to in self.hub.refs.items()]
            return self.told({"branches": tags[:1], "tags": tags[1:], "converts": []})
        commit = self.hub.refs.get(revision or "main", revision)
        if commit not in self.hub.commits:
            return self.refuse("RevisionNotFound")
        if kind == "tree":
            return self.told([self.hub.entry(path, content) for path, content in self.hub.commits[commit].items()])
        if kind == "commits":
            return self.told(self.hub.history(commit))
        return self.told({"id": self.hub.repo, "sha": commit, "siblings": []})

    def file(self, revision: str, path: str) -> None:
        commit = self.hub.refs.get(revision, revision)
        if commit not in self.hub.commits:
            return self.refuse("RevisionNotFound")
        if path not in self.hub.commits[commit]:
            return self.refuse("EntryNotFound")
        true = self.hub.commits[commit][path]
        tag = hashlib.sha256(true).hexdigest() if path.endswith(LARGE) else git_id(true)
        content = self.hub.broken.get(path, true)
        return self.answer(200, content, {"ETag": f'"{tag}"', "X-Repo-Commit": commit}, short=path in self.hub.short)


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """The hub, answering on this machine while the context lasts."""
    server = HubServer(hub)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
