"""A PostgreSQL server for the length of a ``with`` block: a folder, a free loopback port, a random password.

What belongs here: finding Debian's or any other PostgreSQL, running it as an ordinary user (``initdb`` refuses root),
and the environment in which `deploy/dagster.yaml` reaches it. What does not: anything Dagster keeps in it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from steps import PROJECT, REQUIRED, StepFailedError, StepSkippedError

DEBIAN = Path("/usr/lib/postgresql")
# Who runs the server where the acceptance run itself is root; Debian's package makes the first.
ORDINARY = ("postgres", "nobody")
USER, DATABASE = "interp", "interp"
# The data are thrown away with the folder, so nothing needs to reach a disk.
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def programs() -> Path | None:
    """Folder of ``initdb`` and ``pg_ctl``: the newest of Debian's, else the one on the path, else None."""
    debian = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = str(debian[-1]) if debian else shutil.which("initdb")
    return Path(found).parent if found else None


def required_programs() -> Path:
    """`programs`, or the step is skipped; where INTERP_REQUIRE names ``postgres`` it fails.

    Raises
    ------
    StepSkippedError, StepFailedError
        Without PostgreSQL.
    """
    folder = programs()
    if folder is not None:
        return folder
    if "postgres" in REQUIRED:
        raise StepFailedError("INTERP_REQUIRE names postgres, but initdb was not found; apt-get install postgresql")
    raise StepSkippedError("PostgreSQL is not installed; apt-get install postgresql")


def _ordinary_user() -> pwd.struct_passwd:
    """An account that is not root and exists on this machine."""
    if os.getuid() != 0:
        return pwd.getpwuid(os.getuid())
    for name in ORDINARY:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise StepSkippedError(f"root cannot run PostgreSQL, and there is no account {' or '.join(ORDINARY)}")


class Postgres:
    """One server with one role and one database; everything of it is gone at the end of the block."""

    def __init__(self, bin_folder: Path) -> None:
        self._bin = bin_folder
        self._account = _ordinary_user()
        self._folder = Path(tempfile.mkdtemp(prefix="interp-postgres-"))
        self._password = secrets.token_urlsafe(24)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])

    def environment(self) -> dict[str, str]:
        """What `deploy/dagster.yaml` asks for, and that file as the one that counts."""
        return {
            "INTERP_DAGSTER_YAML": str(PROJECT / "deploy" / "dagster.yaml"),
            "INTERP_DB_HOST": "127.0.0.1",
            "INTERP_DB_PORT": str(self.port),
            "INTERP_DB_NAME": DATABASE,
            "INTERP_DB_USER": USER,
            "INTERP_DB_PASSWORD": self._password,
        }

    def __enter__(self) -> Postgres:
        os.chown(self._folder, self._account.pw_uid, self._account.pw_gid)
        try:
            # Through a pipe: the password lies in no file.
            self._as_user(
                *("initdb", "--username", USER, "--auth", "scram-sha-256", "--pwfile", "/dev/stdin", "--no-sync"),
                *("--encoding", "UTF8", "--locale", "C.UTF-8", "--pgdata", str(self._folder / "data")),
                said=self._password + "\n",
            )
            settings = (f"port={self.port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", *FAST)
            options = " ".join(f"-c {setting}" for setting in settings)
            self._pg_ctl("start", "-w", "-t", "60", "-l", str(self._folder / "log"), "-o", options)
            self.sql(f"CREATE DATABASE {DATABASE}", database="postgres")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if (self._folder / "data" / "postmaster.pid").exists():
            self._pg_ctl("stop", "-w", "-m", "immediate")
        shutil.rmtree(self._folder, ignore_errors=True)

    def crash_and_start_again(self) -> None:
        """End the server at once, as a power cut would, and start it again on the same port with the same data."""
        self._pg_ctl("restart", "-w", "-t", "60", "-m", "immediate", "-l", str(self._folder / "log"))

    def sql(self, statement: str, *, database: str = DATABASE) -> str:
        """Rows of one statement as text, columns separated by ``|``."""
        done = self._as_user(
            *("psql", "--no-psqlrc", "--tuples-only", "--no-align", "--host", "127.0.0.1", "--port", str(self.port)),
            *("--username", USER, "--dbname", database, "--command", statement),
        )
        return done.strip()

    def _pg_ctl(self, verb: str, *options: str) -> None:
        self._as_user("pg_ctl", verb, "--pgdata", str(self._folder / "data"), *options)

    @contextlib.contextmanager
    def _pipe(self, said: str) -> Iterator[int]:
        """One end of a pipe that holds a few words; it is the ordinary user's, who opens it by name."""
        reading, writing = os.pipe()
        os.fchown(reading, self._account.pw_uid, self._account.pw_gid)
        os.write(writing, said.encode())  # a few words fit the pipe's buffer, so nobody has to read yet
        os.close(writing)
        try:
            yield reading
        finally:
            os.close(reading)

    def _as_user(self, program: str, *arguments: str, said: str = "") -> str:
        """Output of one PostgreSQL program, run by the ordinary user.

        Output goes to a file: ``pg_ctl start`` leaves a server behind that would keep a pipe open for ever.
        """
        root = os.getuid() == 0
        with tempfile.TemporaryFile("w+", encoding="utf-8") as out, self._pipe(said) as told_it:
            done = subprocess.run(
                [str(self._bin / program), *arguments],
                cwd=self._folder,
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "PGPASSWORD": self._password},
                stdin=told_it,
                stdout=out,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                user=self._account.pw_uid if root else None,
                group=self._account.pw_gid if root else None,
                extra_groups=[] if root else None,
            )
            out.seek(0)
            told = out.read()
        if done.returncode:
            raise StepFailedError(f"{program} ended with {done.returncode}:\n{told[-2000:]}")
        return told
