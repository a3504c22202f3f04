"""The file of settings of a SIP node: docs/reference/node-file.md describes it.

``load_node(path, prompts, recordings, legs_max)`` reads it and returns SipSettings. All that is wrong with it is told,
with file, line and key. Names of files in it are relative to its folder. Passwords don't stand in it: it names the file
or the environment variable that holds one.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cordboard.bindings.addresses import sip_uri
from cordboard.bindings.settings import (
    DESTINATIONS_MAX,
    TRUNKS_MAX,
    Destination,
    Login,
    Phones,
    SipSettings,
    Srtp,
    Tls,
    Transport,
    Trunk,
)
from cordboard.center import CENTER_BYTES_MAX
from cordboard.errors import InputError, NodeFileError, Where
from cordboard.speech.recognizer import Setting
from cordboard.toml_lines import Path as Keys
from cordboard.toml_reader import Check, Reader, Wrong, flag, name_of, nearest, number, one_of, shown, whole

CODECS = {"PCMA": "PCMA/8000/1", "PCMU": "PCMU/8000/1", "G722": "G722/16000/1", "opus": "opus/48000/2"}
USERS_MAX = 100_000
RECOGNIZERS_MAX = 16
SECRET_MAX = 256


def load_node(path: str | os.PathLike[str], prompts: Path, recordings: Path, legs_max: int = 4096) -> SipSettings:
    """Read the settings of a node. Raises NodeFileError, which holds all that is wrong with the file; InputError if a
    folder is missing."""
    file = Path(path)
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise NodeFileError(f"can't be read: {error.strerror}", Where(str(file)), "Check the path") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise NodeFileError("not valid UTF-8", Where(str(file), line), "Save the file as UTF-8") from error
    if len(text) > CENTER_BYTES_MAX:
        raise NodeFileError(
            f"the file is longer than {CENTER_BYTES_MAX} characters", Where(str(file)), "Make it shorter"
        )
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise NodeFileError(
            f"not valid TOML: {error}", Where(str(file)), "See https://toml.io for the notation"
        ) from error
    return _NodeReader(text, str(file)).settings(data, prompts, recordings, legs_max)


# ---- checks of single values


def _file(reader: Reader, path: Keys, value: Any) -> Path:
    found = Path(reader.file).parent / name_of(reader, path, value)
    if not found.is_file():
        raise Wrong(path, f"there is no file {found}", "Names are relative to the folder of this file")
    return found


def _model(reader: Reader, path: Keys, value: Any) -> Path:
    found = Path(reader.file).parent / name_of(reader, path, value)
    if not found.exists():
        raise Wrong(path, f"there is no model {found}", "Names are relative to the folder of this file")
    return found


def _options(_: Reader, path: Keys, value: Any) -> dict[str, str | int | float | bool]:
    if not isinstance(value, dict) or not all(isinstance(each, str | int | float) for each in value.values()):
        raise Wrong(path, f"{shown(value)} is not a table of options", "Write { rate = 8000 }")
    return value


def _host(reader: Reader, path: Keys, value: Any) -> str:
    if not sip_uri("1", name_of(reader, path, value)):
        raise Wrong(path, f"{shown(value)} is no gateway", "Write host or host:port")
    return str(value)


def _texts(reader: Reader, path: Keys, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= 256:
        raise Wrong(path, f"{shown(value)} is not a list of texts", 'Write it as ["one", "two"]')
    return tuple(name_of(reader, (*path, i), each) for i, each in enumerate(value))


def _list_of(known: Iterable[str]) -> Check:
    names = tuple(known)

    def check(reader: Reader, path: Keys, value: Any) -> tuple[str, ...]:
        given = _texts(reader, path, value)
        return tuple(one_of(names)(reader, (*path, i), each) for i, each in enumerate(given))

    return check


def _destinations(reader: Reader, path: Keys, value: Any) -> tuple[Destination, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= DESTINATIONS_MAX:
        raise Wrong(path, f"{shown(value)} is not a list of at most {DESTINATIONS_MAX} destinations")
    found: dict[str, Destination] = {}
    for i, each in enumerate(value):
        got = reader.table((*path, i), each, _DESTINATION)
        if "gateway" not in each:
            raise Wrong((*path, i), '"gateway" is missing', "Write host or host:port")
        if "gateway" in got and got["gateway"] in found:
            raise Wrong(
                (*path, i, "gateway"), f'"{got["gateway"]}" is there already', "Give each once, with its weight"
            )
        if "gateway" in got:
            found[got["gateway"]] = Destination(**got)
    return tuple(found.values())


_PORT = whole(0, 65535)
_SIP: dict[str, Check] = {
    "address": name_of,
    "udp": _PORT,
    "tcp": _PORT,
    "tls": _PORT,
    "beyond_loopback": flag,
    "phones": _texts,
    "headers": _texts,
    "session": whole(90, 86_400),
}
_TLS: dict[str, Check] = {
    "certificate": _file,
    "key": _file,
    "authority": _file,
    "verify": flag,
    "verify_clients": flag,
}
_SRTP = one_of(tuple(each.value for each in Srtp))
_AUDIO: dict[str, Check] = {
    "srtp": _SRTP,
    "keying": _list_of(("sdes", "dtls")),
    "codecs": _list_of(CODECS),
    "strict_source": flag,
    "rtp_port": whole(1024, 65000),
    "rtp_ports": whole(100, 60000),
    "silence": number(0, 3600, is_seconds=True),
}
_DESTINATION: dict[str, Check] = {"gateway": _host, "priority": whole(1, 1000), "weight": whole(1, 1000)}
_TRUNK: dict[str, Check] = {
    "gateway": _host,
    "destinations": _destinations,
    "sources": _texts,
    "transport": one_of(tuple(each.value for each in Transport)),
    "srtp": _SRTP,
    "lines": whole(1, 100_000),
    "calls_per_second": number(0.01, 10_000),
    "patience": number(0.5, 32, is_seconds=True),
    "rest": number(0, 3600, is_seconds=True),
    "ping": number(1, 3600, is_seconds=True),
    "user": name_of,
    "password_file": _file,
    "password_env": name_of,
    "realm": name_of,
    "registrar": _host,
    "expires": whole(30, 86_400),
}
_PHONES: dict[str, Check] = {
    "realm": name_of,
    "users": _file,
    "networks": _texts,
    "nonce": number(5, 3600, is_seconds=True),
    "expires_min": whole(1, 86_400),
    "expires_max": whole(1, 86_400),
    "failures": whole(1, 10_000),
    "failures_within": number(1, 3600, is_seconds=True),
}
_SPEECH: dict[str, Check] = {
    "kind": name_of,
    "languages": _texts,
    "model": _model,
    "sessions": whole(1, 1000),
    "options": _options,
}
_BOTS: dict[str, Check] = {"authority": _file}
_TOP: dict[str, dict[str, Check]] = {"sip": _SIP, "tls": _TLS, "audio": _AUDIO, "agents": _PHONES, "bots": _BOTS}


def _table(checks: dict[str, Check]) -> Check:
    return lambda reader, path, value: reader.table(path, value, checks)


_TABLES = {key: _table(checks) for key, checks in _TOP.items()}


class _NodeReader(Reader):
    """Reads the settings of a node."""

    kind = NodeFileError

    def settings(self, data: dict[str, Any], prompts: Path, recordings: Path, legs_max: int) -> SipSettings:
        known = [*_TOP, "trunks", "speech"]
        for key in data:
            if key not in known:
                self.wrong.append(Wrong((key,), f'unknown key "{key}"', nearest(key, known)))
        got = {key: {} for key in _TOP} | self.each((), {key: data.get(key, {}) for key in _TOP}, _TABLES)
        sip, audio = got["sip"], got["audio"]
        trunks = self.section(data, "trunks", _TRUNK)
        if len(trunks) > TRUNKS_MAX:
            self.wrong.append(Wrong(("trunks",), f"more than {TRUNKS_MAX} trunks", "Use several nodes"))
        recognizers = self.recognizers(self.section(data, "speech", _SPEECH))
        if isinstance(data.get("sip", {}), dict) and not {"udp", "tcp", "tls"} & data.get("sip", {}).keys():
            self.wrong.append(Wrong(("sip",), "SIP has no port at all", "Give udp, tcp or tls"))
        made = tuple(self.trunk(name, table) for name, table in trunks.items())
        registrar = self.registrar(got["agents"]) if "agents" in data else None
        self.raise_wrong()
        given = {
            "address": sip.get("address"),
            "beyond_loopback": sip.get("beyond_loopback"),
            "phones": sip.get("phones"),
            "headers": sip.get("headers"),
            "session_s": sip.get("session"),
            "srtp": Srtp(audio["srtp"]) if "srtp" in audio else None,
            "keying": audio.get("keying"),
            "codecs": tuple(CODECS[name] for name in audio["codecs"]) if "codecs" in audio else None,
            "strict_rtp": audio.get("strict_source"),
            "rtp_port": audio.get("rtp_port"),
            "rtp_ports": audio.get("rtp_ports"),
            "silence_s": audio.get("silence"),
            "bots_authority": got["bots"].get("authority"),
        }
        try:
            return SipSettings(
                prompts,
                recordings,
                port=sip.get("udp"),
                tcp_port=sip.get("tcp"),
                tls_port=sip.get("tls"),
                tls=Tls(**got["tls"]),
                trunks=made,
                registrar=registrar,
                legs_max=legs_max,
                recognizers=recognizers,
                **{key: value for key, value in given.items() if value is not None},
            )
        except InputError as error:
            key = error.where.key or ""
            if key in ("prompts", "recordings"):
                raise
            places: dict[str, Keys] = {"address": ("sip", key), "phones": ("sip", key), "srtp": ("audio", key)}
            places["networks"] = ("agents", key)
            self.wrong.append(Wrong(places.get(key, ("trunks", key)), error.what, error.hint))
            self.raise_wrong()
            raise

    def recognizers(self, tables: Mapping[str, Mapping[str, Any]]) -> tuple[Setting, ...]:
        """The recognizers of speech; what is missing is noted."""
        if len(tables) > RECOGNIZERS_MAX:
            self.wrong.append(Wrong(("speech",), f"more than {RECOGNIZERS_MAX} recognizers", "Use several nodes"))
        found = []
        for name, got in tables.items():
            for key in ("kind", "languages"):
                if key not in got and not any(one.path[:2] == ("speech", name) for one in self.wrong):
                    self.wrong.append(Wrong(("speech", name), f'"{key}" is missing', "See docs/reference/speech.md"))
            options = dict(got.get("options", {})) | ({"model": str(got["model"].resolve())} if "model" in got else {})
            sessions = {"sessions": got["sessions"]} if "sessions" in got else {}
            found.append(Setting(name, got.get("kind", ""), got.get("languages", ()), options=options, **sessions))
        return tuple(found)

    def trunk(self, name: str, got: Mapping[str, Any]) -> Trunk:
        """One trunk; what is missing is noted."""
        path = ("trunks", name)
        if ("gateway" in got) == ("destinations" in got) and not any(one.path[:2] == path for one in self.wrong):
            self.wrong.append(Wrong(path, "it needs a gateway, or destinations", 'Write gateway = "host:port"'))
        seconds = {f"{key}_s": got[key] for key in ("patience", "rest", "ping") if key in got}
        plain = {key: got[key] for key in ("sources", "lines", "calls_per_second") if key in got}
        return Trunk(
            name,
            got.get("destinations") or got.get("gateway", ""),
            transport=Transport(got.get("transport", "udp")),
            srtp=Srtp(got["srtp"]) if "srtp" in got else None,
            login=self.login(path, got),
            **plain,
            **seconds,
        )

    def login(self, path: tuple[str, ...], got: Mapping[str, Any]) -> Login | None:
        if "user" not in got:
            for key in ("password_file", "password_env", "registrar", "realm", "expires"):
                if key in got:
                    self.wrong.append(Wrong((*path, key), f"{key} without a user", "Give the user, too"))
            return None
        if ("password_file" in got) == ("password_env" in got):
            if not any(one.path == (*path, "password_file") for one in self.wrong):
                self.wrong.append(Wrong((*path, "user"), "no password", "Give password_file or password_env"))
            return None
        password = self.secret(path, got)
        more = {key: got[key] for key in ("realm", "registrar", "expires") if key in got}
        return Login(got["user"], password, **more)

    def secret(self, path: tuple[str, ...], got: Mapping[str, Any]) -> str:
        """The password, from where it lies."""
        if "password_env" in got:
            key, where = "password_env", f"the environment variable {got['password_env']}"
            found = os.environ.get(got["password_env"], "")
        else:
            key, where = "password_file", f"the file {got['password_file']}"
            try:
                found = got["password_file"].read_text("utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError):
                found = ""
        if not found or len(found) > SECRET_MAX or not found.isprintable():
            self.wrong.append(Wrong((*path, key), f"{where} holds no password", "It is one line of text"))
        return found

    def registrar(self, got: Mapping[str, Any]) -> Phones | None:
        for key in ("realm", "users"):
            if key not in got and not any(one.path == ("agents", key) for one in self.wrong):
                self.wrong.append(Wrong(("agents",), f'"{key}" is missing', "See docs/reference/node-file.md"))
        if "realm" not in got or "users" not in got:
            return None
        users = self.users(got["users"], got["realm"])
        plain = {key: got[key] for key in ("networks", "expires_min", "expires_max", "failures") if key in got}
        seconds = {"nonce_s": got.get("nonce"), "failures_s": got.get("failures_within")}
        given = {key: value for key, value in seconds.items() if value is not None}
        return Phones(got["realm"], users, **plain, **given)

    def users(self, file: Path, realm: str) -> tuple[tuple[str, str], ...]:
        """The lines of a file as htdigest writes it: name:realm:HA1."""
        found: dict[str, str] = {}
        try:
            lines = file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise NodeFileError(f"can't be read: {error}", Where(str(file)), "Save it as UTF-8") from error
        if len(lines) > USERS_MAX:
            raise NodeFileError(f"more than {USERS_MAX} lines", Where(str(file)), "Use several nodes")
        for i, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            name, _, rest = line.partition(":")
            of, _, hashed = rest.rpartition(":")
            where = Where(str(file), i, name)
            hashed = hashed.strip().lower()
            if not name or len(hashed) not in (32, 64) or set(hashed) - set("0123456789abcdef"):
                raise NodeFileError("this is no line of name:realm:HA1", where, "htdigest writes such lines")
            if of != realm:
                raise NodeFileError(f'its realm is "{of}"', where, f'The node\'s is "{realm}"')
            if name in found:
                raise NodeFileError("the name is there twice", where, "Remove one of the lines")
            found[name] = hashed
        return tuple(found.items())
