"""A small file server on this machine that answers as a test says: cuts, changes, errors, redirects."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Answer:
    """One answer: a status, or the file with what goes wrong on the way.

    ``cut`` ends the connection after that many bytes, ``status`` sends an error, ``location`` a redirect, ``page`` a
    web page, ``ranges`` False ignores range requests, ``length`` False announces none.
    """

    status: int = 200
    cut: int | None = None
    location: str = ""
    page: bool = False
    ranges: bool = True
    length: bool = True
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class FileServer:
    """Serves ``content`` at any path; each request takes the next of ``script``, and a plain answer after the last."""

    content: bytes
    address: str = ""
    etag: bool = True
    script: list[Answer] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)

    @property
    def starts(self) -> list[int]:
        """First byte that each request asked for."""
        return [int(each.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-")) for each in self.requests]

    @property
    def version(self) -> str:
        return f'"{sha256(self.content).hexdigest()[:12]}"'


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: FileServer

    def log_message(self, *_: object) -> None:
        return

    def do_GET(self) -> None:
        self.state.requests.append({"path": self.path} | dict(self.headers.items()))
        answer = self.state.script.pop(0) if self.state.script else Answer()
        self.close_connection = True
        if answer.location:
            self._send(302, b"", answer, {"Location": answer.location})
        elif answer.page or answer.status >= 400:
            self._send(answer.status, b"<!DOCTYPE html><html>not here</html>", answer, {"Content-Type": "text/html"})
        else:
            self._file(answer)

    def _file(self, answer: Answer) -> None:
        content, version = self.state.content, self.state.version
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        facts = {"Content-Type": "application/octet-stream"} | ({"ETag": version} if self.state.etag else {})
        if not (start and answer.ranges and self.headers.get("If-Range", version) == version):
            self._send(200, content, answer, facts)
        elif start >= len(content):
            self._send(416, b"", answer, {})
        else:
            told = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._send(206, content[start:], answer, facts | {"Content-Range": told})

    def _send(self, status: int, body: bytes, answer: Answer, facts: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**facts, **answer.headers}.items():
            self.send_header(name, value)
        if answer.length:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body if answer.cut is None else body[: answer.cut])


@contextmanager
def serving(content: bytes) -> Iterator[FileServer]:
    """A server on a free port of this machine, stopped at the end."""
    state = FileServer(content=content)
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"state": state}))
    state.address = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
