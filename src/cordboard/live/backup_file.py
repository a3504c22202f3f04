"""The file of a backup: a tar of checked members behind a manifest, compressed, and sealed with age.

It is written and read as a stream, in bounded memory, with recipients (X25519); a passphrase seals up to
``PASSPHRASE_BYTES_MAX``, since that form of age has no stream here. Any age tool opens the file: what comes out is a
tar.gz.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from cordboard.errors import InputError, LimitError, MissingExtraError, Where

MANIFEST = "manifest.json"
MANIFEST_BYTES_MAX = 16 * 1024 * 1024
PASSPHRASE_BYTES_MAX = 1024**3
AGE_MARK = b"age-encryption.org/"
CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Seal:
    """How a backup is closed: recipients ``age1...``, or a passphrase, or (``plain``) not at all."""

    recipients: tuple[str, ...] = ()
    passphrase: str = ""
    plain: bool = False

    def __post_init__(self) -> None:
        if (bool(self.recipients) + bool(self.passphrase) + self.plain) != 1:
            hint = "Give recipients, or a passphrase, or say that it is to be plain"
            raise InputError("a backup is sealed in exactly one way", Where(key="--recipient"), hint)


@dataclass(frozen=True, slots=True)
class Opener:
    """What opens a backup: identities ``AGE-SECRET-KEY-1...``, or a passphrase; nothing for a plain one."""

    identities: tuple[str, ...] = ()
    passphrase: str = ""


def _age() -> Any:
    try:
        import pyrage
    except ImportError:
        raise MissingExtraError("pyrage", "serve") from None
    return pyrage


def sum_of(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_backup(target: Path, seal: Seal, manifest: Mapping[str, Any], files: Mapping[str, Path]) -> int:
    """Write the file, whole or not at all; returns its bytes. ``files``: name in the backup -> where it is now."""
    listed = {name: {"bytes": path.stat().st_size, "sha256": sum_of(path)} for name, path in files.items()}
    head = json.dumps({**manifest, "files": listed}, ensure_ascii=False, indent=1).encode()
    part = target.with_name(target.name + ".part")
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise InputError(f"can't be written: {error.strerror}", Where(str(part)), "Check the path") from error
    try:
        with os.fdopen(handle, "wb") as out:
            _sealed(seal, out, lambda stream: _pack(stream, head, files))
            out.flush()
            os.fsync(out.fileno())
        part.rename(target)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
    return target.stat().st_size


def _pack(stream: BinaryIO, head: bytes, files: Mapping[str, Path]) -> None:
    with (
        gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|") as tar,
    ):
        _add(tar, MANIFEST, len(head), io.BytesIO(head))
        for name, path in files.items():
            with open(path, "rb") as content:
                _add(tar, name, path.stat().st_size, content)


def _add(tar: tarfile.TarFile, name: str, size: int, content: BinaryIO) -> None:
    member = tarfile.TarInfo(name)
    member.mode, member.size = 0o600, size
    tar.addfile(member, content)


def _sealed(seal: Seal, out: BinaryIO, pack: Callable[[BinaryIO], None]) -> None:
    """Write what ``pack`` writes, sealed."""
    if seal.plain:
        pack(out)
        return
    age = _age()
    if seal.passphrase:
        whole = _Bounded()
        pack(cast(BinaryIO, whole))
        out.write(age.passphrase.encrypt(whole.getvalue(), seal.passphrase))
        return
    try:
        keys = [age.x25519.Recipient.from_str(text) for text in seal.recipients]
    except age.RecipientError as error:
        raise InputError(f"not a recipient of age: {error}", Where(key="--recipient"), "Write age1...") from None
    with _piped(pack) as stream:
        age.encrypt_io(stream, out, keys)


class _Bounded(io.BytesIO):
    def write(self, data: Any) -> int:
        if self.tell() + len(data) > PASSPHRASE_BYTES_MAX:
            hint = "Seal it for a recipient: age-keygen makes a key"
            raise LimitError("the backup is too long for a passphrase", PASSPHRASE_BYTES_MAX, hint)
        return super().write(data)


@contextmanager
def _piped(write: Callable[[BinaryIO], None]) -> Iterator[BinaryIO]:
    """A stream from which to read what ``write`` writes, in a thread; its error is raised at the end."""
    reading, writing = os.pipe()
    failed: list[BaseException] = []

    def run() -> None:
        try:
            with os.fdopen(writing, "wb") as stream:
                write(stream)
        except BrokenPipeError:  # the reader gave up, and says why
            pass
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="cordboard-backup", daemon=True)
    thread.start()
    try:
        with os.fdopen(reading, "rb") as stream:
            yield stream
    except Exception:
        thread.join()
        if failed:
            raise failed[0] from None
        raise
    thread.join()
    if failed:
        raise failed[0]


def read_backup(source: Path, opener: Opener, folder: Path) -> dict[str, Any]:
    """Unpack a backup into an empty folder; returns its manifest. InputError if it is damaged, in whatever way."""
    where = Where(str(source))
    age: Any = None
    try:
        with open(source, "rb") as stream:
            mark = stream.read(len(AGE_MARK))
            stream.seek(0)
            if mark != AGE_MARK:
                return _unpack(stream, folder, where)
            age = _age()
            with _piped(_opened(stream, opener, age, where)) as plain:
                return _unpack(plain, folder, where)
    except OSError as error:
        raise InputError(f"can't be read: {error.strerror or error}", where, "Check the path") from error
    except (tarfile.TarError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"not a whole backup: {error}", where, "Take another one") from error


def _opened(stream: BinaryIO, opener: Opener, age: Any, where: Where) -> Callable[[BinaryIO], None]:
    def write(out: BinaryIO) -> None:
        try:
            if opener.passphrase:
                out.write(age.passphrase.decrypt(stream.read(PASSPHRASE_BYTES_MAX), opener.passphrase))
            else:
                keys = [age.x25519.Identity.from_str(text) for text in opener.identities]
                age.decrypt_io(stream, out, keys)
        except age.DecryptError as error:
            raise InputError(f"can't be opened: {error}", where, "Is it the right identity or passphrase?") from None
        except age.IdentityError as error:
            raise InputError(f"not an identity of age: {error}", Where(key="--identity")) from None

    return write


def _unpack(stream: BinaryIO, folder: Path, where: Where) -> dict[str, Any]:
    manifest: dict[str, Any] | None = None
    with gzip.GzipFile(fileobj=stream) as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content is None:
                raise InputError(f"{member.name!r} is not a file", where, "Take another backup")
            if manifest is None:
                manifest = _manifest(member, content.read(MANIFEST_BYTES_MAX), where)
                left = dict(manifest["files"])
                continue
            expected = left.pop(member.name, None)
            if expected is None or PurePosixPath(member.name).is_absolute() or ".." in PurePosixPath(member.name).parts:
                raise InputError(f"{member.name!r} is not in the manifest", where, "Take another backup")
            if _copy(content, folder / member.name) != (expected["bytes"], expected["sha256"]):
                raise InputError(f"{member.name!r} is not as it was written", where, "Take another backup")
        while packed.read(CHUNK):  # to the end, where gzip and then age say whether all of it is genuine
            pass
    if manifest is None or left:
        raise InputError("the backup is cut off", where, "Take another one")
    return manifest


def _manifest(member: tarfile.TarInfo, content: bytes, where: Where) -> dict[str, Any]:
    if member.name != MANIFEST:
        raise InputError("it does not begin with a manifest", where, "Is it a backup of cordboard?")
    found: dict[str, Any] = json.loads(content)
    if found.get("format") != 1:
        raise InputError(f"format {found.get('format')!r} is not known", where, "Restore it with a newer cordboard")
    return found


def _copy(content: Any, path: Path) -> tuple[int, str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    return size, digest.hexdigest()
