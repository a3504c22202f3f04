"""What a SIP media layer is told before it starts. :mod:`cordboard.bindings.node_file` reads it from a file."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cordboard.bindings.addresses import host_of, is_loopback, networks, sip_uri
from cordboard.errors import InputError, Where
from cordboard.speech.recognizer import Setting

TRUNKS_MAX = 200  # each has an account of PJSUA, which has 256
DESTINATIONS_MAX = 32


class Transport(StrEnum):
    """What carries SIP."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"


class Srtp(StrEnum):
    """Whether audio is encrypted."""

    OFF = "off"
    OPTIONAL = "optional"  # if the other side can
    MANDATORY = "mandatory"  # a call without it is not taken


@dataclass(frozen=True, slots=True)
class Tls:
    """``certificate``, ``key``: ours, PEM; without them we can call by TLS and not be called. ``authority``: PEM of who
    vouches for others; without it, whom the system trusts. ``verify``: a server's certificate must be vouched for and
    name its address. ``verify_clients``: who connects to us must show one, too."""

    certificate: Path | None = None
    key: Path | None = None
    authority: Path | None = None
    verify: bool = True
    verify_clients: bool = False


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a trunk's calls can go. ``gateway``: host, or host:port. Those of the lowest ``priority`` are tried first,
    among equals in random order, by ``weight``."""

    gateway: str
    priority: int = 1
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are for a trunk: answers 401 and 407. ``realm``: the only one that gets the password; * for any.
    ``registrar``: host, or host:port, where we register; empty for not at all. ``expires``: seconds."""

    user: str
    password: str
    realm: str = "*"
    registrar: str = ""
    expires: int = 300

    def __repr__(self) -> str:
        return f"Login(user={self.user!r}, realm={self.realm!r}, registrar={self.registrar!r})"  # not the password


@dataclass(frozen=True, slots=True)
class Trunk:
    """Where numbers are dialed, and calls come from. ``gateway``: host, or host:port, or several destinations.
    ``sources``: the addresses that its calls come from, if they are not those of the gateways.

    ``lines``: calls at once, in and out, and ``calls_per_second``: new ones out; 0 for as many as may be. A destination
    that says nothing for ``patience_s`` is given up, and not tried for ``rest_s``. ``ping_s``: seconds between two
    OPTIONS to each destination, 0 for none. ``srtp``: None for the node's own."""

    name: str
    gateway: str | tuple[Destination, ...]
    sources: tuple[str, ...] = ()
    transport: Transport = Transport.UDP
    srtp: Srtp | None = None
    lines: int = 0
    calls_per_second: float = 0.0
    patience_s: float = 4.0
    rest_s: float = 30.0
    ping_s: float = 0.0
    login: Login | None = None

    @property
    def destinations(self) -> tuple[Destination, ...]:
        return (Destination(self.gateway),) if isinstance(self.gateway, str) else self.gateway

    def networks(self) -> tuple[str, ...]:
        """Where its calls come from."""
        return self.sources or tuple(host_of(each.gateway) for each in self.destinations)


@dataclass(frozen=True, slots=True)
class Phones:
    """The registrar of agents' phones. ``users``: name and HA1, as hex: MD5 of name:realm:password, or SHA-256 of it.
    ``networks``: where they may register from. A nonce holds for ``nonce_s``; a registration for as long as the phone
    asks, from ``expires_min`` to ``expires_max`` seconds. After ``failures`` wrong passwords in ``failures_s`` seconds
    its source is not listened to for as long."""

    realm: str
    users: tuple[tuple[str, str], ...]
    networks: tuple[str, ...] = ("127.0.0.0/8",)
    nonce_s: float = 60.0
    expires_min: int = 30
    expires_max: int = 3600
    failures: int = 10
    failures_s: float = 60.0


@dataclass(frozen=True, slots=True)
class SipSettings:
    """``prompts``: the folder of the prompts, WAV files of 16 bits, one channel; ``recordings``: the one of recordings.
    ``address``: IP address for SIP and RTP; ``port``: of SIP by UDP, ``tcp_port``, ``tls_port``: by the others; 0 for a
    free one, None for not at all. ``beyond_loopback``: other machines can be called and can call; otherwise only
    loopback addresses are accepted, here and in Dial.

    ``phones``: networks that may call without a trunk; a call from anywhere else is answered 403 and not reported.
    ``registrar``: of agents' phones, which may call from wherever they are registered; None for none.
    ``srtp``, ``keying``: how audio is encrypted, the best way first. Keys of SDES stand in the SIP message, so we offer
    it on TLS alone. ``strict_rtp``: audio is taken from the address and port alone that the other side has announced.
    ``session_s``: seconds after which a session must be refreshed (RFC 4028). ``requests_per_s``: that begin something,
    from one source; others are answered 503. Whoever is no known source is answered 403, five times a second.

    ``headers``: names of those that Incoming passes on. ``codecs``: PJSIP's names, best first. ``legs_max``: at once; a
    leg whose end the other side has not confirmed counts too. ``events_max``: between two calls of ``reports``.
    ``silence_s``: a leg whose audio came and then stops for so long is over; 0: never. ``seed``: of the choice of
    destinations. ``recipients``: of age, for whom recordings are sealed; without any nothing is recorded. ``opus``:
    recordings are Opus, an eighth of the room for several times the CPU; else PCM.
    ``bots_authority``: PEM of who vouches for voice bots; without it, whom the system trusts.
    ``recognizers``: of speech; each is a process of its own. ``log_level``: of PJSIP, 0 to 5, to standard error."""

    prompts: Path
    recordings: Path
    address: str = "127.0.0.1"
    port: int | None = 0
    tcp_port: int | None = None
    tls_port: int | None = None
    tls: Tls = Tls()
    beyond_loopback: bool = False
    trunks: tuple[Trunk, ...] = ()
    phones: tuple[str, ...] = ("127.0.0.0/8",)
    registrar: Phones | None = None
    srtp: Srtp = Srtp.OFF
    keying: tuple[str, ...] = ("sdes", "dtls")
    strict_rtp: bool = True
    session_s: int = 1800
    requests_per_s: float = 1000.0
    headers: tuple[str, ...] = ("P-Asserted-Identity", "Diversion", "Identity")
    codecs: tuple[str, ...] = ("PCMA/8000/1", "PCMU/8000/1", "G722/16000/1", "opus/48000/2")
    rtp_port: int = 16384
    rtp_ports: int = 32768
    legs_max: int = 4096
    events_max: int = 65536
    silence_s: float = 60.0
    seed: int = 0
    recipients: tuple[str, ...] = ()
    recognizers: tuple[Setting, ...] = ()
    bots_authority: Path | None = None
    opus: bool = False
    log_level: int = 0

    def __post_init__(self) -> None:
        if not self.beyond_loopback and not is_loopback(self.address):
            raise InputError(
                f"{self.address} is not an address of this machine alone",
                Where(key="address"),
                "Set beyond_loopback to be reached by other machines",
            )
        for key, folder in (("prompts", self.prompts), ("recordings", self.recordings)):
            if not folder.is_dir():
                raise InputError(f"There is no folder {folder}", Where(key=key), "Make it before the start")
        if not self.transports:
            raise InputError("SIP has no port at all", Where(key="port"), "Give port, tcp_port or tls_port")
        for trunk in self.trunks:
            for each in trunk.destinations:
                if not sip_uri("1", each.gateway):
                    raise InputError(f"{each.gateway} is no gateway", Where(key=trunk.name), "Write host or host:port")
            self._check(trunk.networks(), trunk.name)
            self._check_trunk(trunk)
        self._check(self.phones, "phones")
        if self.registrar is not None:
            self._check(self.registrar.networks, "networks")
        if self.srtp is Srtp.MANDATORY and "dtls" not in self.keying and self.transports != {Transport.TLS}:
            what = "SDES would send the keys of audio in clear"
            raise InputError(what, Where(key="srtp"), "Use TLS alone, or DTLS for the keys")

    @property
    def transports(self) -> frozenset[Transport]:
        """Those that are open."""
        ports = {Transport.UDP: self.port, Transport.TCP: self.tcp_port, Transport.TLS: self.tls_port}
        return frozenset(kind for kind, port in ports.items() if port is not None)

    def encryption(self, transport: Transport, wanted: Srtp | None = None) -> tuple[Srtp, tuple[str, ...]]:
        """Whether audio of calls by a transport is encrypted, and how its keys are agreed: PJSIP offers the first way,
        accepts all, and needs SDES among them to accept an offer of plain audio, too."""
        keying = self.keying if transport is Transport.TLS else tuple(way for way in self.keying if way != "sdes")
        used = self.srtp if wanted is None else wanted
        if used is Srtp.OFF or not keying:
            return Srtp.OFF, ("sdes",)
        return used, keying if used is Srtp.MANDATORY or "sdes" in keying else (*keying, "sdes")

    def _check_trunk(self, trunk: Trunk) -> None:
        if trunk.transport not in self.transports:
            what = f"SIP has no port for {trunk.transport.value}, which the trunk uses"
            raise InputError(what, Where(key=trunk.name), "Give one, 0 for any that is free")
        if trunk.srtp is Srtp.MANDATORY and self.encryption(trunk.transport, trunk.srtp)[0] is Srtp.OFF:
            what = "SDES would send the keys of audio in clear"
            raise InputError(what, Where(key=trunk.name), "Use TLS, or DTLS for the keys")

    @staticmethod
    def _check(sources: tuple[str, ...], key: str) -> None:
        for source in sources:
            try:
                networks((source,))
            except ValueError:
                hint = "Write an address or a network such as 10.0.0.0/8"
                raise InputError(f"{source!r} is no address or network", Where(key=key), hint) from None
