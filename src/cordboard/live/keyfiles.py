"""Files that hold secrets: readable by their owner alone, written whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from cordboard.errors import InputError, Where

BYTES_MAX = 4 * 1024 * 1024


def write_file(path: Path, content: bytes, *, secret: bool) -> None:
    """Write a file so that a crash leaves the old one or the new one; mode 0600 if it is secret, else 0644."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
            out.flush()
            if not secret:
                os.fchmod(out.fileno(), 0o644)
            os.fsync(out.fileno())
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make what was created or renamed in a folder last through a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_file(path: Path, *, secret: bool) -> bytes:
    """The bytes of a key file. Raises InputError if it is missing, too large, or secret and open to others."""
    try:
        with open(path, "rb") as source:
            mode = os.fstat(source.fileno()).st_mode
            if secret and mode & (stat.S_IRWXG | stat.S_IRWXO):
                what = f"others may read or write this key (mode {stat.S_IMODE(mode):04o})"
                raise InputError(what, Where(str(path)), f"chmod 600 {path}, and make a new key if it may have leaked")
            content = source.read(BYTES_MAX + 1)
    except OSError as error:
        raise InputError(f"can't be read: {error.strerror}", Where(str(path)), "Give a file that exists") from None
    if len(content) > BYTES_MAX:
        raise InputError(f"longer than {BYTES_MAX} bytes", Where(str(path)), "Is it a key file?")
    return content
