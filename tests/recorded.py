"""Recordings for tests: who can open them, their audio, and a writer of the format made from its description alone."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyrage
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cordboard.recordings.container import Reading, Sealer

# Made for the tests, known to everybody.
IDENTITY = "AGE-SECRET-KEY-10KWTTEDNFYCHKEV67E3HWHU7KGXNYKYEM7W9AHX6CDA79KC284RQ4LSMYH"
RECIPIENT = str(pyrage.x25519.Identity.from_str(IDENTITY).to_public())


def channels(path: Path) -> np.ndarray:
    """The audio of a recording, one row a channel."""
    reading = Reading(path, [IDENTITY])
    data = np.frombuffer(b"".join(reading.audio()), np.int16)
    return data.reshape(-1, reading.channels).T.astype(float)


def sealed_chunks(header: bytes, key: bytes, chunks: Sequence[tuple[int, int, bytes]]) -> list[bytes]:
    """Chunks (kind, first frame, audio) as the format says."""
    found, aead = [], AESGCM(key)
    for number, (kind, first, audio) in enumerate(chunks):
        head = struct.pack("<IIQ", len(audio), kind, first)
        vouched = hashlib.sha256(header).digest() + struct.pack("<Q", number) + head
        found.append(head + aead.encrypt(struct.pack("<QI", number, 0), audio, vouched))
    return found


def recording(path: Path, audio: Sequence[bytes], *, count: int = 2, end: bool = True, missing: int = 0) -> list[bytes]:
    """Write a recording of these chunks of audio; returns the header and the sealed chunks."""
    key, header = Sealer([RECIPIENT]).header(path.stem, count)
    chunks, at = [], 0
    for pcm in audio:
        chunks.append((0, at, pcm))
        at += len(pcm) // (2 * count)
    if end:
        chunks.append((1, at, struct.pack("<Q", missing)))
    parts = [header, *sealed_chunks(header, key, chunks)]
    path.write_bytes(b"".join(parts))
    return parts
