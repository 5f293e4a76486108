"""Doors stay shut: servers listen to this machine, other pages cannot read them, downloads go where they were told."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests
import yaml

from interp_assets.cells.dataset_records import LOCKED, DownloadSource
from interp_assets.cells.dataset_sections import check_address
from interp_assets.cells.downloads import UnsafeAddressError, download
from interp_assets.cells.integrity import DataFileError
from interp_assets.cli import main
from interp_assets.settings import PROJECT

ELSEWHERE = (
    *(
        "http://example.org/x.h5ad",
        "ftp://example.org/x.h5ad",
        "file:///etc/passwd",
        "//example.org/x",
        "data:text/plain,x",
    ),
    *(
        "javascript:alert(1)",
        "https:///x",
        "gopher://x/y",
        "http://127.0.0.1.example.org/x",
        "http://[::ffff:10.0.0.1]/x",
    ),
    *("http://localhost@example.org/x", "HTTP://example.org/x", "https:example.org", "\\\\example.org\\x", ""),
)


def test_the_asset_graph_listens_to_this_machine_only(monkeypatch, tmp_path, capsys, tally):
    monkeypatch.setenv("INTERP_STORE", str(tmp_path / "store"))
    started: list[list[str]] = []

    def start(_: str, command: list[str]) -> None:
        started.append(command)
        raise SystemExit(0)

    monkeypatch.setattr("os.execv", start)
    monkeypatch.chdir(tmp_path)
    for name in ("DAGSTER_HOME", "DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS"):  # the command sets them for the server
        monkeypatch.setenv(name, "1")
    for asked in ((), ("--host", "0.0.0.0")):
        with pytest.raises(SystemExit):
            main(["ui", *asked])
    assert started[0][started[0].index("--host") + 1] == "127.0.0.1"
    assert "http://127.0.0.1:" in capsys.readouterr().out.splitlines()[0]
    assert started[1][started[1].index("--host") + 1] == "0.0.0.0", "a person's choice counts"
    tally("security", "web server: binds to the loopback unless told otherwise", "right")


def test_files_that_start_servers_open_no_port_beyond_the_host(tally):
    """Inside a container a server must listen to its network; what leaves the host is published on the loopback."""
    services = yaml.safe_load((PROJECT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))["services"]
    for name, service in services.items():
        for port in service.get("ports", ()):
            assert str(port).startswith("127.0.0.1:") or name == "proxy", f"{name}: {port}"
    workspace = yaml.safe_load((PROJECT / "workspace.yaml").read_text(encoding="utf-8"))["load_from"]
    assert all(set(entry) == {"python_module"} for entry in workspace), "a workspace on this machine opens no port"
    tally("security", "deployment: ports are published on the loopback, but the proxy's", "right", len(services))


def test_no_page_of_another_origin_can_read_the_web_server(tmp_path, tally):
    """Without ``Access-Control-Allow-Origin`` a browser hands no answer to another page and sends it no JSON."""
    testing = pytest.importorskip("starlette.testclient")
    import dagster
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster_webserver.webserver import DagsterWebserver

    with (
        dagster.DagsterInstance.local_temp(str(tmp_path)) as instance,
        WorkspaceProcessContext(instance, None) as context,
    ):
        client = testing.TestClient(DagsterWebserver(context).create_asgi_app())
        query = {"query": "{ __typename }"}
        headers = {"Origin": "https://evil.example"}
        answers = [
            client.post("/graphql", json=query, headers=headers),
            client.options("/graphql", headers={**headers, "Access-Control-Request-Method": "POST"}),
            client.get("/server_info", headers=headers),
        ]
    assert answers[0].json()["data"]["__typename"]
    for answer in answers:
        assert not [name for name in answer.headers if name.lower().startswith("access-control-allow")]
    tally("security", "web server: no answer for pages of another origin", "right", len(answers))


@pytest.mark.parametrize("address", ELSEWHERE)
def test_only_https_is_an_address_of_data(address, tally):
    with pytest.raises(ValueError, match="only https"):
        check_address(address)
    tally("security", "downloads: addresses that are not https", "refused")


class _Answers(http.server.BaseHTTPRequestHandler):
    """Redirects ``/to/<address>``; at ``/endless`` says 10 bytes and sends without end."""

    def do_GET(self) -> None:
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", requests.utils.unquote(self.path[4:]))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        self.server.sent = 0  # type: ignore[attr-defined]
        try:
            while self.server.sent < 2**28:  # type: ignore[attr-defined]
                self.wfile.write(b"\x89HDF\r\n\x1a\n" + b"0" * 2**16)
                self.server.sent += 2**16  # type: ignore[attr-defined]
        except OSError:
            return

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as found:
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            found.shutdown()
            thread.join()


@pytest.mark.parametrize("address", [a for a in ELSEWHERE if "://" in a and not a.startswith("https:///")])
def test_no_redirect_leads_elsewhere(tmp_path, address, tally):
    with server() as found:
        url = f"http://127.0.0.1:{found.server_port}/to/{requests.utils.quote(address, safe='')}"
        source = DownloadSource(url=url, sha256=LOCKED, size=0, name="x.h5ad")
        with pytest.raises(UnsafeAddressError, match="leads to"):
            download(source, tmp_path / "x.h5ad", sleep=lambda _: None)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size]
    tally("security", "downloads: redirects to addresses that are not https", "refused")


def test_a_file_that_grows_beyond_its_declared_size_is_cut_off(tmp_path, tally):
    """The server would send 256 MiB for a file of 10 bytes."""
    with server() as found:
        url = f"http://127.0.0.1:{found.server_port}/endless"
        source = DownloadSource(url=url, sha256="0" * 64, size=10, name="x.h5ad")
        with pytest.raises(DataFileError):
            download(source, tmp_path / "x.h5ad", sleep=lambda _: None)
        assert found.sent < 2**27  # type: ignore[attr-defined]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    tally("security", "downloads: more bytes than declared", "refused")
