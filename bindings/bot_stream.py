"""Bots over gRPC: ``cordboard.v1.BotService``, which the bot serves (docs/guides/voice-bots.md). One stream on a
connection of its own is one call, so that no bot waits for another."""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
from google.protobuf.message import DecodeError

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
from cordboard.v1 import bot_service_pb2 as pb

GOODBYE_S = 1.0
CONVERSE = f"/{pb.DESCRIPTOR.services_by_name['BotService'].full_name}/Converse"
KNOWN = ("contact", "queue", "number", "language")  # details that have a field of their own
PORTS = {"grpc": 80, "grpcs": 443}

OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    # Where the settings say and nowhere else, once.
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    # Servers take few pings as they come; but with keepalive on, what TCP does not get through in time is an end too.
    ("grpc.keepalive_time_ms", 310_000),
    ("grpc.keepalive_timeout_ms", 5_000),
)


class Stream:
    """The line of one call. See :class:`cordboard.bindings.bot_messages.Wire`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        converse: grpc.aio.StreamStreamMultiCallable[pb.ConverseRequest, bytes] = channel.stream_stream(
            CONVERSE, request_serializer=pb.ConverseRequest.SerializeToString
        )
        self._call = converse()
        self._reading: asyncio.Future[Any] | None = None
        self._writing: asyncio.Future[None] | None = None
        self._pings = self._pongs = 0

    @classmethod
    async def open(cls, about: About, authority: Path | None) -> Stream:
        """Connect, say who calls, and wait for the welcome. LostError, GarbageError if there is none."""
        parts = urlsplit(about.to)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        target = f"dns:///{host}:{parts.port or PORTS[parts.scheme]}"
        if parts.scheme == "grpcs":
            channel = grpc.aio.secure_channel(target, credentials(authority), OPTIONS)
        else:
            channel = grpc.aio.insecure_channel(target, OPTIONS)
        wire = cls(channel)
        try:
            await wire._write(pb.ConverseRequest(start=_start(about)))
            if (await wire._read()).WhichOneof("message") != "welcome":
                raise GarbageError("the bot has not begun with a welcome")
        except BaseException as error:
            await wire._drop()
            if isinstance(error, EOFError):
                raise LostError("the bot has ended the line without a welcome") from None
            raise
        return wire

    async def send(self, message: ToBot) -> None:
        if isinstance(message, Heard):
            said = pb.ConverseRequest(heard=pb.BotHeard(frame=message.number, audio=message.audio))
        elif isinstance(message, Pressed):
            said = pb.ConverseRequest(key=message.key)
        else:
            said = pb.ConverseRequest(played=message.mark)
        await self._write(said)

    async def _write(self, message: pb.ConverseRequest) -> None:
        self._writing = asyncio.ensure_future(self._call.write(message))
        try:
            await asyncio.shield(self._writing)  # cancelled, it would end the call
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await self._ended()

    async def _ended(self) -> None:
        """Whoever reads is told of a goodbye; LostError if it was none."""
        code = await self._call.code()
        if code is not grpc.StatusCode.OK:
            raise LostError(f"the bot has closed the line with {code.name}") from None

    async def _read(self) -> pb.ConverseResponse:
        """The next message. EOFError: it says goodbye."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._call.read())
        try:
            text = await asyncio.shield(self._reading)  # a reader who is cancelled leaves the message to the next one
            self._reading = None
            if text is grpc.aio.EOF:
                raise EOFError
            return pb.ConverseResponse.FromString(text)
        except grpc.aio.AioRpcError:
            await self._ended()
            raise EOFError from None
        except DecodeError:
            raise GarbageError("the bot has sent what is no message") from None

    async def ping(self) -> None:
        self._pings += 1
        await self._write(pb.ConverseRequest(ping=self._pings))

    def answered(self) -> bool:
        return self._pongs == self._pings

    async def messages(self) -> AsyncIterator[FromBot]:
        try:
            while True:
                said = await self._read()
                if said.WhichOneof("message") == "pong":
                    self._pongs = said.pong
                found = message_of(said)
                if found is not None:
                    yield found
        except EOFError:
            return

    async def close(self) -> None:
        try:
            async with asyncio.timeout(GOODBYE_S):
                if self._writing is not None:
                    await asyncio.wait((self._writing,))
                await self._call.done_writing()
                while True:
                    await self._read()
        except (EOFError, TimeoutError, LostError, GarbageError):
            return
        finally:
            await self._drop()

    async def _drop(self) -> None:
        await self._channel.close()
        left = [task for task in (self._writing, self._reading) if task is not None]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def _start(about: About) -> pb.BotStart:
    details = dict(about.details)
    known = {name: details.pop(name, "") for name in KNOWN}
    return pb.BotStart(leg=about.leg, caller=about.caller, **known, parameters=details)


def message_of(said: pb.ConverseResponse) -> FromBot | None:
    """What a bot has sent; None if that is nothing for us."""
    kind = said.WhichOneof("message")
    if kind == "say":
        return Say(said.say)
    if kind == "mark":
        return Mark(said.mark[:TEXT_MAX])
    if kind == "clear":
        return Clear()
    if kind == "said":
        return _line(said.said)
    if kind == "hand_over":
        over = said.hand_over
        lines = tuple(map(_line, over.transcript))
        return HandOver(over.queue[:TEXT_MAX], over.agent[:TEXT_MAX], over.summary[:TEXT_MAX], lines)
    return None


def _line(line: pb.BotLine) -> Said:
    return Said(line.who, line.text[:TEXT_MAX])


@functools.cache
def credentials(authority: Path | None) -> grpc.ChannelCredentials:
    """Who vouches for bots: a file (PEM), or without one whom the system trusts, as OpenSSL finds them."""
    if authority is not None:
        return grpc.ssl_channel_credentials(authority.read_bytes())
    paths = ssl.get_default_verify_paths()
    files = [Path(paths.cafile)] if paths.cafile else sorted(Path(paths.capath).glob("*.0")) if paths.capath else []
    return grpc.ssl_channel_credentials(b"\n".join(file.read_bytes() for file in files) or None)
