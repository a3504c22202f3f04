"""The file of a recording: sealed chunk by chunk while it is written, so that it plays up to wherever it was cut.

A media node writes it (``bindings/pjsip/cipher.c``); here is what begins it, and what reads it. The key is random, for
this file alone, and stands in the header sealed with age for recipients (X25519): who writes can't read. The format is
told in docs/background/recordings.md. Numbers are little-endian:

- header: ``CBRECORD``, version 1, channels, codec 1 (PCM, 16 bits) or 2 (Opus packets of 20 ms, each with 2 bytes of
  length in front; see ``ogg``), rate (4 bytes), the recording's name and the sealed
  key, each with 2 bytes of length in front;
- chunk: bytes of audio (4), kind (4), number of its first frame (8), then the audio by AES-256-GCM with a tag of 16
  bytes. The nonce is the chunk's number; the tag vouches for the header's SHA-256, that number and the 16 bytes, too;
- the last chunk has the kind 1: it says how many frames are missing because the disk did not take them.
"""

from __future__ import annotations

import hashlib
import io
import secrets
import struct
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from cordboard.errors import InputError, MissingExtraError, Where
from cordboard.recordings.ogg import PACKET_FRAMES, ogg_opus, silent

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ImportError:
    raise MissingExtraError("cryptography", "serve") from None

MAGIC = b"CBRECORD"
VERSION = 1
PCM, OPUS = 1, 2
RATE = 8000  # frames a second that media nodes record
KEY_BYTES = 32
TAG_BYTES = 16
NAME_BYTES_MAX = 255
CHUNK_BYTES_MAX = 1 << 20
AUDIO, END = 0, 1
_FIXED = struct.Struct("<8sBBHI")
_HEAD = struct.Struct("<IIQ")


def _age() -> Any:
    try:
        import pyrage
    except ImportError:
        raise MissingExtraError("pyrage", "serve") from None
    return pyrage


class Sealer:
    """Makes keys and headers of new recordings. ``recipients``: ``age1...``; whoever has the identity of one can read.
    InputError if one is none."""

    def __init__(self, recipients: Sequence[str]) -> None:
        self._age = _age()
        try:
            self._recipients = [self._age.x25519.Recipient.from_str(text) for text in recipients]
        except self._age.RecipientError as error:
            raise InputError(f"not a recipient of age: {error}", Where(key="recipient"), "Write age1...") from None

    def header(self, name: str, channels: int, rate: int = RATE, codec: int = PCM) -> tuple[bytes, bytes]:
        """The key of a recording, which is to be forgotten, and what its file begins with."""
        key, text = secrets.token_bytes(KEY_BYTES), name.encode()[:NAME_BYTES_MAX]
        sealed = self._age.encrypt(key, self._recipients)
        parts = (_sized(text), _sized(sealed))
        return key, _FIXED.pack(MAGIC, VERSION, channels, codec, rate) + b"".join(parts)


def _sized(part: bytes) -> bytes:
    return struct.pack("<H", len(part)) + part


@dataclass(frozen=True, slots=True)
class Chunk:
    """Audio: ``content``, PCM of 16 bits, channels interleaved, or packets; ``first``: number of its first frame."""

    first: int
    content: bytes


class Reading:
    """A recording that is being read. Iterate over it for its chunks, as often as wanted; ``state`` then says how the
    file ended: ``whole``, ``cut`` (the node died, or still writes) or ``damaged`` (changed, or parts moved or dropped;
    what came before is as it was written).

    ``identities``: ``AGE-SECRET-KEY-1...``. InputError if the file can't be read or opened at all.
    """

    def __init__(self, path: Path, identities: Sequence[str]) -> None:
        self.path, self.state, self.frames, self.missing = path, "", 0, 0
        self.channels = self.rate = 0
        try:
            with open(path, "rb") as stream:
                self._header(stream, identities)
        except OSError as error:
            raise InputError(f"can't be read: {error.strerror}", Where(str(path)), "Check the path") from error

    def _header(self, stream: BinaryIO, identities: Sequence[str]) -> None:
        where = Where(str(self.path))
        fixed = stream.read(_FIXED.size)
        if not MAGIC.startswith(fixed[: len(MAGIC)]):
            raise InputError("not a recording", where, "Media nodes write them")
        try:
            _, version, self.channels, self.codec, self.rate = _FIXED.unpack(fixed)
            name, sealed = _part(stream), _part(stream)
        except (struct.error, EOFError):
            raise InputError("the recording ends in its header", where, "Nothing was recorded yet") from None
        if version != VERSION or self.codec not in (PCM, OPUS) or not 1 <= self.channels <= 2 or not self.rate:
            raise InputError(f"a recording of version {version}", where, "Take a newer cordboard, or another file")
        self._begin = stream.tell()
        stream.seek(0)
        self._hash = hashlib.sha256(stream.read(self._begin)).digest()
        self._aead = AESGCM(_opened(sealed, identities, where))
        self.name = name.decode(errors="replace")

    @property
    def seconds(self) -> float:
        """Length, after it was iterated over."""
        return self.frames / self.rate

    def __iter__(self) -> Iterator[Chunk]:
        self.state, self.frames, self.missing = "cut", 0, 0
        with open(self.path, "rb") as stream:
            stream.seek(self._begin)
            number = 0
            while (sealed := self._next(stream)) is not None:
                head, content = sealed
                size, kind, first = _HEAD.unpack(head)
                vouched = self._hash + number.to_bytes(8, "little") + head
                try:
                    plain = self._aead.decrypt(number.to_bytes(12, "little"), content, vouched)
                except InvalidTag:
                    self.state = "damaged"
                    return
                number += 1
                if kind == END:
                    self.missing, self.frames = int.from_bytes(plain, "little"), first
                    self.state = "damaged" if stream.read(1) else "whole"
                    return
                width = 2 * self.channels
                packets = sum(1 for _ in _packets(plain)) if self.codec == OPUS else 0
                self.frames = first + (packets * PACKET_FRAMES if self.codec == OPUS else size // width)
                yield Chunk(first, plain)

    def _next(self, stream: BinaryIO) -> tuple[bytes, bytes] | None:
        """The next chunk, still sealed; None where the file ends."""
        head = stream.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return None
        size = _HEAD.unpack(head)[0]
        if size > CHUNK_BYTES_MAX:
            self.state = "damaged"
            return None
        content = stream.read(size + TAG_BYTES)
        return (head, content) if len(content) == size + TAG_BYTES else None

    def audio(self) -> Iterator[bytes]:
        """The audio as one, PCM: silence where the disk took none. MissingExtraError for Opus without the extra
        ``audio``."""
        if self.codec == OPUS:
            ogg = io.BytesIO(b"".join(self.ogg()))  # in memory alone: what is on a disk can be found there
            with _soundfile().SoundFile(ogg) as decoded:
                for block in decoded.blocks(self.rate, dtype="int16", always_2d=True):
                    yield block.tobytes()
            return
        at, width = 0, 2 * self.channels
        for chunk in self:
            while at < chunk.first:
                gap = min(chunk.first - at, CHUNK_BYTES_MAX // width)
                yield bytes(gap * width)
                at += gap
            yield chunk.content
            at += len(chunk.content) // width

    def ogg(self) -> Iterator[bytes]:
        """A recording in Opus as an Ogg file, page by page, without decoding anything."""

        def packets() -> Iterator[bytes]:
            at = 0
            for chunk in self:
                while at + PACKET_FRAMES <= chunk.first:
                    yield silent(self.channels)
                    at += PACKET_FRAMES
                for packet in _packets(chunk.content):
                    yield packet
                    at += PACKET_FRAMES

        return ogg_opus(packets(), self.channels, self.rate, lambda: self.frames)


def _packets(content: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(content):
        end = at + 2 + int.from_bytes(content[at : at + 2], "little")
        yield content[at + 2 : end]
        at = end


def _soundfile() -> Any:
    try:
        import soundfile
    except (ImportError, OSError):
        raise MissingExtraError("soundfile", "audio") from None
    return soundfile


def seconds_written(path: Path) -> float:
    """How long a recording of PCM is as far as it was written, by what stands in clear; 0 if it can't be read."""
    frames, rate, channels = 0, RATE, 1
    try:
        with open(path, "rb") as stream:
            _, _, channels, _, rate = _FIXED.unpack(stream.read(_FIXED.size))
            _part(stream), _part(stream)
            while len(head := stream.read(_HEAD.size)) == _HEAD.size:
                size, kind, first = _HEAD.unpack(head)
                if len(stream.read(size + TAG_BYTES)) < size + TAG_BYTES:
                    break
                frames = first + (size // (2 * channels) if kind == AUDIO else 0)
    except (OSError, EOFError, struct.error):
        return 0.0
    return frames / rate if rate else 0.0


def _part(stream: BinaryIO) -> bytes:
    (size,) = struct.unpack("<H", stream.read(2))
    part = stream.read(size)
    if len(part) < size:
        raise EOFError
    return part


def _opened(sealed: bytes, identities: Sequence[str], where: Where) -> bytes:
    age = _age()
    try:
        keys = [age.x25519.Identity.from_str(text) for text in identities]
    except age.IdentityError as error:
        raise InputError(f"not an identity of age: {error}", Where(key="identity")) from None
    try:
        key: bytes = age.decrypt(sealed, keys)
    except age.DecryptError as error:
        raise InputError(f"can't be opened: {error}", where, "Is it the right identity?") from None
    if len(key) != KEY_BYTES:
        raise InputError(f"a key of {len(key)} bytes", where, "Media nodes write others")
    return key


def new_identity() -> tuple[str, str]:
    """A new identity, which opens recordings and is secret, and the recipient for whom they are sealed."""
    made = _age().x25519.Identity.generate()
    return str(made), str(made.to_public())


def read_identities(path: Path) -> list[str]:
    """The identities of a file, one a line, as ``age-keygen`` writes them too."""
    from cordboard.live.keyfiles import read_file  # late: the live engine comes with it, which who writes does not need

    lines = (line.strip() for line in read_file(path, secret=True).decode(errors="replace").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def wav_stream(reading: Reading) -> Iterator[bytes]:
    """The recording as a WAV file whose length is not known yet, part by part: for whoever plays it as it comes."""
    width = 2 * reading.channels
    format = struct.pack("<HHIIHH", 1, reading.channels, reading.rate, reading.rate * width, width, 16)
    yield b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<I", len(format)) + format + b"data\xff\xff\xff\xff"
    yield from reading.audio()


def write_opus(reading: Reading, target: BinaryIO) -> None:
    """The recording as Opus in Ogg. MissingExtraError without the extra ``audio``, unless it is Opus already."""
    if reading.codec == OPUS:
        for page in reading.ogg():
            target.write(page)
        return
    soundfile = _soundfile()
    import numpy as np

    with soundfile.SoundFile(
        target, "w", samplerate=reading.rate, channels=reading.channels, format="OGG", subtype="OPUS"
    ) as out:
        for pcm in reading.audio():
            out.write(np.frombuffer(pcm, np.int16).reshape(-1, reading.channels))


def write_wav(reading: Reading, target: BinaryIO) -> None:
    """The recording as a WAV file of 16 bits; ``target`` can be sought in."""
    with wave.open(target, "wb") as out:
        out.setnchannels(reading.channels)
        out.setsampwidth(2)
        out.setframerate(reading.rate)
        for pcm in reading.audio():
            out.writeframesraw(pcm)
