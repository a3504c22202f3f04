"""Bots over WebSocket, by the messages of Twilio Media Streams: bots that were written for that need no change.

As with Twilio we connect to the bot. Two messages of a bot are cordboard's own: ``transcript`` and ``handover``
(docs/guides/voice-bots.md). A message of a kind that is not known is left alone, one that is broken ends the line.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import secrets
import ssl
from collections.abc import AsyncIterator
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from cordboard.bindings.bot_messages import (
    MESSAGE_BYTES_MAX,
    TEXT_MAX,
    About,
    Clear,
    FromBot,
    GarbageError,
    HandOver,
    Heard,
    LostError,
    Mark,
    Pressed,
    Said,
    Say,
    ToBot,
)

QUEUE_MAX = 64  # messages of a bot that wait here; then it is not read
GOODBYE_S = 1.0
ACCOUNT = "AC" + "0" * 32
GOODBYES = (1000, 1005)  # the end was meant: everything else is a failure


class _Connect(connect):
    """Goes where the settings say and nowhere else."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Twilio:
    """The line of one call. See :class:`cordboard.bindings.bot_messages.Wire`."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._stream, self._call = f"MZ{secrets.token_hex(16)}", f"CA{secrets.token_hex(16)}"
        self._sequence = 0
        self._pong: asyncio.Future[float] | None = None

    @classmethod
    async def open(cls, about: About, context: ssl.SSLContext) -> Twilio:
        """Connect, and say who calls. OSError and its like if that can't be done."""
        socket = await _Connect(
            about.to,
            compression=None,
            proxy=None,
            max_size=MESSAGE_BYTES_MAX,
            max_queue=QUEUE_MAX,
            ping_interval=None,  # lines do so
            close_timeout=GOODBYE_S,
            open_timeout=None,
            ssl=context if about.to.lower().startswith("wss:") else None,
        )
        wire = cls(socket)
        await socket.send(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
        details = {"from": about.caller, **dict(about.details)}
        start = {
            "accountSid": ACCOUNT,
            "streamSid": wire._stream,
            "callSid": wire._call,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": details,
        }
        await wire._say("start", start)
        return wire

    async def send(self, message: ToBot) -> None:
        if isinstance(message, Heard):
            payload = base64.b64encode(message.audio).decode()
            about: dict[str, Any] = {"track": "inbound", "chunk": str(message.number + 1)}
            await self._say("media", about | {"timestamp": str(20 * message.number), "payload": payload})
        elif isinstance(message, Pressed):
            await self._say("dtmf", {"track": "inbound_track", "digit": message.key})
        else:
            await self._say("mark", {"name": message.mark})

    async def _say(self, event: str, about: dict[str, Any]) -> None:
        self._sequence += 1
        said = {"event": event, "sequenceNumber": str(self._sequence), "streamSid": self._stream, event: about}
        try:
            await self._socket.send(json.dumps(said))
        except ConnectionClosed as error:
            raise LostError(_why(error)) from None

    async def ping(self) -> None:
        try:
            self._pong = asyncio.ensure_future(await self._socket.ping())
        except ConnectionClosed as error:
            raise LostError(_why(error)) from None

    def answered(self) -> bool:
        return self._pong is not None and self._pong.done()

    async def messages(self) -> AsyncIterator[FromBot]:
        try:
            while True:
                found = message_of(await self._socket.recv())
                if found is not None:
                    yield found
        except ConnectionClosed as error:
            if error.rcvd is None or error.rcvd.code not in GOODBYES:
                raise LostError(_why(error)) from None

    async def close(self) -> None:
        try:
            await self._say("stop", {"accountSid": ACCOUNT, "callSid": self._call})
        except LostError:
            return
        await self._socket.close()


def _why(error: ConnectionClosed) -> str:
    code = error.rcvd.code if error.rcvd is not None else 1006
    return f"the bot has closed the line with {code}"


def message_of(text: str | bytes) -> FromBot | None:
    """What a bot has sent; None if that is nothing for us. GarbageError if it is no message at all."""
    try:
        said = json.loads(text)
        kind = said["event"]
        if kind == "media":
            return Say(base64.b64decode(said["media"]["payload"], validate=True))
        if kind == "mark":
            return Mark(_text(said["mark"]["name"]))
        if kind == "clear":
            return Clear()
        if kind == "transcript":
            return _said(said["transcript"])
        if kind == "handover":
            return _hand_over(said.get("handover", {}))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, binascii.Error) as error:
        raise GarbageError(f"the bot has sent what is no message: {type(error).__name__}") from None
    return None


def _hand_over(about: Any) -> HandOver:
    said = tuple(_said(line) for line in about.get("transcript", ()))
    queue, agent, summary = (_text(about.get(key, "")) for key in ("queue", "agent", "summary"))
    return HandOver(queue, agent, summary, said)


def _said(line: Any) -> Said:
    return Said(_text(line.get("who", "bot")), _text(line["text"]))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value[:TEXT_MAX]
