"""Opus packets of a recording as an Ogg file (RFC 3533, RFC 7845), which every player takes.

A packet has 20 ms of each channel, as streams of their own without coupling, so that no side is heard in the other's.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence

PACKET_FRAMES = 160  # of 8,000 a second
DELAY = 52  # frames at the beginning that nobody said: what the encoder looks ahead
GRANULES = 6  # of Ogg's 48,000 a second, in a frame
PACKETS_A_PAGE = 50
_HEAD = struct.Struct("<4sBBqIII")
_SILENT = b"\xf8\xff\xfe"  # 20 ms of nothing in one stream


def silent(channels: int) -> bytes:
    """A packet of 20 ms in which nobody says anything."""
    return b"\xf8\x02\xff\xfe" * (channels - 1) + _SILENT


def _row(value: int) -> int:
    for _ in range(8):
        value = value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)
    return value & 0xFFFFFFFF


_TABLE = [_row(byte << 24) for byte in range(256)]


def _checksum(data: bytes) -> int:
    found = 0
    for byte in data:
        found = (found << 8 & 0xFFFFFFFF) ^ _TABLE[found >> 24 ^ byte]
    return found


class _Pages:
    def __init__(self) -> None:
        self._number = 0

    def page(self, packets: Sequence[bytes], granule: int, kind: int = 0) -> bytes:
        """``kind``: 2 for the first page, 4 for the last."""
        laces = b"".join(b"\xff" * (len(packet) // 255) + bytes((len(packet) % 255,)) for packet in packets)
        head = _HEAD.pack(b"OggS", 0, kind, granule, 0x43424F52, self._number, 0) + bytes((len(laces),)) + laces
        self._number += 1
        page = head + b"".join(packets)
        return page[:22] + struct.pack("<I", _checksum(page)) + page[26:]


def ogg_opus(packets: Iterable[bytes], channels: int, rate: int, frames: Callable[[], int]) -> Iterator[bytes]:
    """The file, page by page. ``frames``: how many were said; asked at the end."""
    pages = _Pages()
    head = struct.pack("<8sBBHIhB", b"OpusHead", 1, channels, DELAY * GRANULES, rate, 0, int(channels > 1))
    yield pages.page([head + (bytes((channels, 0, *range(channels))) if channels > 1 else b"")], 0, 2)
    yield pages.page([b"OpusTags" + struct.pack("<I9sI", 9, b"cordboard", 0)], 0)
    held: list[bytes] = []
    at = 0
    for packet in packets:
        if len(held) == PACKETS_A_PAGE or sum(len(one) // 255 + 1 for one in held) + len(packet) // 255 + 1 > 255:
            at += len(held) * PACKET_FRAMES
            yield pages.page(held, at * GRANULES)
            held = []
        held.append(packet)
    said = frames()
    held += [silent(channels)] * (at + len(held) * PACKET_FRAMES < said + DELAY)
    yield pages.page(held, (said + DELAY) * GRANULES, 4)
