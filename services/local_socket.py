"""A Unix socket beside the port, for programs of this machine: commands, scripts; and one of lines, for media nodes.

Nothing on it is encrypted, since nothing leaves the machine; only the user who runs the server can open it. Where
callers are known by tokens they show them here, too.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import tempfile
from pathlib import Path

from cordboard.errors import InputError, StoreError, Where
from cordboard.services.line import SUFFIX
from cordboard.services.security.plan import Plan
from cordboard.services.server import Server

PATH_BYTES_MAX = 107  # what the address of a socket holds, less the zero at its end
BESIDE = len("/.12345678/s")  # where it is made, before it has its name


def check(path: Path, safety: Plan) -> None:
    """Whether a server can have its socket there, and would know who calls. Raises InputError."""
    where = Where(key="--socket")
    behind = max(BESIDE, len(os.fsencode(path.name + SUFFIX)) + 1)
    if len(os.fsencode(path.absolute().parent)) + behind > PATH_BYTES_MAX:
        raise InputError("the path of the socket is too long", where, "Choose a shorter one")
    if not path.parent.is_dir():
        raise InputError(f'there is no folder "{path.parent}"', where, "Make it first")
    if safety.knows_callers and safety.token_keys is None:
        hint = "Give --token-keys too, or have programs of this machine come by TLS"
        raise InputError("a socket has no certificates: nobody could be known there", where, hint)


class LocalSocket:
    """The sockets of a server that has not started yet. StoreError if another one serves there, or none can be made."""

    def __init__(self, server: Server, path: Path) -> None:
        self._path = path.absolute()
        try:
            if _is_served(self._path):
                raise StoreError("in use", f"{path}: another server has this socket")
            # In a folder that is nobody else's until only we may open it: from then on it has its name.
            with tempfile.TemporaryDirectory(prefix=".", dir=self._path.parent) as folder:
                made, lines = Path(folder) / "s", Path(folder) / "l"
                server.listen(f"unix:{made}")
                listener = socket.socket(socket.AF_UNIX)
                listener.bind(os.fspath(lines))
                server.listen_lines(listener)
                self._made = [self._named(lines, SUFFIX), self._named(made, "")]
        except OSError as error:
            raise StoreError("i/o error", f"{path}: {error.strerror}") from None

    def _named(self, made: Path, suffix: str) -> tuple[Path, os.stat_result]:
        """Give a socket its name, when nobody else can open it."""
        made.chmod(stat.S_IRUSR | stat.S_IWUSR)
        found, name = made.stat(), self._path.with_name(self._path.name + suffix)
        made.rename(name)
        return name, found

    def close(self) -> None:
        """Take them away, unless another server has put its own there."""
        for path, made in self._made:
            with contextlib.suppress(OSError):
                if os.path.samestat(path.stat(), made):
                    path.unlink()


def _is_served(path: Path) -> bool:
    """Whether a server answers there; what one that was killed has left behind does not."""
    if not path.exists():
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # somebody is there who is slow, or not to be asked
            return True
    return True
