"""A webhook on this machine: keeps what it was sent and answers as it is told to."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@dataclass
class Received:
    """``answers`` are the next status codes (then 200), with headers and body; ``delay`` seconds before an answer."""

    url: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str], str]] = field(default_factory=list)
    delay: float = 0.0

    def lines(self, number: int = -1) -> str:
        """Everything a person reads of one message."""
        return json.dumps(self.messages[number], ensure_ascii=False)


@contextmanager
def receiver(path: str = "/services/T000/B000/s3cr3t-t0ken") -> Iterator[Received]:
    """A receiver on a free port of this machine, for the length of a ``with`` block."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.messages.append(json.loads(body))
            received.keys.append(self.headers["Idempotency-Key"])
            received.paths.append(self.path)
            time.sleep(received.delay)
            status, headers, said = received.answers.pop(0) if received.answers else (200, {}, "ok")
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(BrokenPipeError, ConnectionResetError):  # the sender may be gone by then
                self.wfile.write(said.encode())

        def do_GET(self) -> None:  # what a followed redirect would ask
            received.paths.append(self.path)
            self.send_error(405)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received.url = f"http://127.0.0.1:{server.server_port}{path}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
