"""A PostgreSQL server of the tests' own: in a temporary folder, on a port of its own, gone with the session.

It needs the server's programs, which .ci/postgres installs where it may (Debian's package postgresql). Without them a
test that asks for ``postgres_url`` skips; with CI=true it fails instead.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

USER = "cordboard"
START_SECONDS_MAX = 60
_numbers = itertools.count(1)


def programs() -> Path | None:
    """The folder of ``initdb`` and ``postgres``: of the newest Debian package, else of the PATH."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    found = shutil.which("initdb")
    if found:
        folders.insert(0, Path(found).resolve().parent)
    return next((f for f in reversed(folders) if (f / "initdb").exists() and (f / "postgres").exists()), None)


def unprivileged() -> dict[str, int]:
    """Arguments of subprocess.Popen: PostgreSQL refuses to run as root, so root lends it another user."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid}
    raise RuntimeError("there is neither a user postgres nor nobody, and PostgreSQL refuses to run as root")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def await_server(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text('utf-8', 'replace')[-3000:]}") from None
            time.sleep(0.05)


@contextlib.contextmanager
def serve(bin_folder: Path) -> Iterator[str]:
    """A running server; the address of its database ``postgres``, with the password in it."""
    who = unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="cordboard-pg-"))  # not pytest's: only its owner may enter those
    try:
        password, port = secrets.token_hex(8), free_port()
        (folder / "password").write_text(password, "utf-8")
        if who:
            for path in (folder, folder / "password"):
                os.chown(path, who["user"], who["group"])
        data, log = folder / "data", folder / "log"
        arguments = ["-D", str(data), "-U", USER, "-E", "UTF8", "--locale=C", "--auth=scram-sha-256", "--no-sync"]
        subprocess.run(
            [bin_folder / "initdb", *arguments, f"--pwfile={folder / 'password'}"],
            check=True, capture_output=True, cwd=folder, **who,
        )  # fmt: skip
        options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off",
                   "full_page_writes": "off", "shared_buffers": "32MB", "max_connections": 60}  # fmt: skip
        settings = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        with open(log, "wb") as stream:
            command = [str(bin_folder / "postgres"), "-D", str(data), *settings]
            server = subprocess.Popen(command, stdout=stream, stderr=stream, cwd=folder, start_new_session=True, **who)
        try:
            url = f"postgresql://{USER}:{password}@127.0.0.1:{port}/postgres"
            await_server(url, server, log)
            yield url
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
            server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of the session's PostgreSQL server (one for each worker of pytest-xdist)."""
    found = programs()
    if found is None:
        what = "PostgreSQL's server is not installed: apt-get install postgresql"
        if os.environ.get("CI") == "true":
            pytest.fail(what)
        pytest.skip(what)
    with serve(found) as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The address of an empty database for one test: ``postgresql://user:password@127.0.0.1:port/name``."""
    import psycopg

    name = f"test_{next(_numbers)}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield f"{postgres_server.rpartition('/')[0]}/{name}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
