"""A SIP message as far as a relay must understand it (RFC 3261): a first line, headers, and a body left as it is."""

from __future__ import annotations

from dataclasses import dataclass

_COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "l": "content-length", "c": "content-type"}


@dataclass(slots=True)
class Message:
    """``headers``: names and values in order, unfolded; each Via has an entry of its own."""

    start: str
    headers: list[tuple[str, str]]
    body: bytes

    @staticmethod
    def parse(data: bytes) -> Message | None:
        """None if it is no message of SIP with all that every message must have."""
        head, _, body = data.partition(b"\r\n\r\n")
        text = head.decode("latin-1").replace("\r\n ", " ").replace("\r\n\t", " ")
        start, *lines = text.split("\r\n")
        headers: list[tuple[str, str]] = []
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not name.strip():
                return None
            each = value.split(",") if _full(name) == "via" else [value]
            headers += [(name.strip(), one.strip()) for one in each]
        found = Message(start, headers, body)
        whole = all(found.get(name) for name in ("via", "from", "to", "call-id", "cseq"))
        return found if whole and "SIP/2.0" in (start[:7], start[-7:]) and start.count(" ") >= 2 else None

    @property
    def method(self) -> str:
        """Of a request; empty for a response."""
        return "" if self.start.startswith("SIP/2.0 ") else self.start.split(" ", 1)[0]

    def all(self, name: str) -> list[str]:
        """The values of a header."""
        return [value for given, value in self.headers if _full(given) == name]

    def get(self, name: str) -> str:
        """The first value of a header; empty without one."""
        return next(iter(self.all(name)), "")

    def replace(self, name: str, value: str | None) -> None:
        """Another first value of a header that is there, or none."""
        at = next(i for i, (given, _) in enumerate(self.headers) if _full(given) == name)
        self.headers[at : at + 1] = [] if value is None else [(self.headers[at][0], value)]

    def data(self) -> bytes:
        """As it is sent."""
        lines = [self.start, *(f"{name}: {value}" for name, value in self.headers)]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body


def parameter(value: str, name: str) -> str:
    """A parameter of a header's value; empty without one."""
    for part in value.split(";")[1:]:
        key, _, given = part.strip().partition("=")
        if key.strip().lower() == name:
            return given.strip()
    return ""


def without(value: str, *names: str) -> str:
    """The value without some parameters."""
    first, *parts = value.split(";")
    kept = [part for part in parts if part.strip().partition("=")[0].strip().lower() not in names]
    return ";".join([first, *kept])


def _full(name: str) -> str:
    name = name.strip().lower()
    return _COMPACT.get(name, name)
