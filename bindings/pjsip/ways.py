"""The ways in and out of the media layer on PJSIP: trunks, transports, accounts, and where a call came from.

What is chosen and refused is decided by :mod:`cordboard.bindings.trunks`; this module tells PJSIP.
"""

from __future__ import annotations

import heapq
import ipaddress
import logging
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cordboard.bindings.addresses import caller_uri, networks, sip_uri, stays_here, transport_of, user_of, within_ipv6
from cordboard.bindings.pjsip import events as pj
from cordboard.bindings.registrar import Registrar, Request
from cordboard.bindings.settings import SipSettings, Srtp, Transport, Trunk
from cordboard.bindings.trunks import Attempt, Trunks
from cordboard.media.backend import Cause, Dial

if TYPE_CHECKING:
    from cordboard.bindings.pjsip.sip import Sip

TRANSPORTS = tuple(Transport)  # in PJSIP's order, see node.h
UNAVAILABLE = 503
SILENT = 408
AGENT = "agent:"  # and a name of the registrar
PING_S = 4.0  # for an answer
BEYOND = "this address is not of this machine, and beyond_loopback is not set"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Way:
    """Where a call goes."""

    to: str
    account: int
    caller: str
    number: str = ""  # of a trunk
    attempt: Attempt | None = None

    @property
    def trunk(self) -> str:
        """Whose line the call has."""
        return self.attempt.trunk if self.attempt is not None else ""


def start(settings: SipSettings) -> Sip:
    """PJSIP with its transports. OSError if it can't start, RuntimeError if this process has one already."""
    from cordboard.bindings.pjsip.sip import Sip

    ports = (settings.port, settings.tcp_port, settings.tls_port)
    tls = settings.tls
    return Sip(
        address=settings.address,
        ports=tuple(-1 if port is None else port for port in ports),
        codecs=",".join(settings.codecs),
        headers=",".join(settings.headers),
        certificate=str(tls.certificate or ""),
        key=str(tls.key or ""),
        authority=str(tls.authority or ""),
        verify=tls.verify,
        verify_clients=tls.verify_clients,
        strict_rtp=settings.strict_rtp,
        registrar=settings.registrar is not None,
        session_s=settings.session_s,
        rtp_port=settings.rtp_port,
        rtp_ports=settings.rtp_ports,
        legs_max=settings.legs_max,
        events_max=settings.events_max,
        log_level=settings.log_level,
    )


class Ways:
    """The accounts of a running PJSIP. OSError if it does not take one."""

    def __init__(self, settings: SipSettings, sip: Sip) -> None:
        self._settings, self._sip = settings, sip
        self.trunks = Trunks(settings.trunks, settings.seed)
        self.registrar = Registrar(settings.registrar, secrets.token_bytes(32)) if settings.registrar else None
        self._sources = [(network, t.name) for t in settings.trunks for network in networks(t.networks())]
        self._sources += [(network, "") for network in networks(settings.phones)]
        registering = networks(settings.registrar.networks) if settings.registrar else ()
        admitted = map(within_ipv6, [*(network for network, _ in self._sources), *registering])
        sip.admit(admitted, settings.requests_per_s)
        usual = f"sip:cordboard@{settings.address}"
        self._usual = {kind: self._account(usual, kind) for kind in TRANSPORTS if kind in settings.transports}
        self._accounts = {trunk.name: self._trunk_account(trunk) for trunk in settings.trunks}
        self._trunk_of = {account: name for name, account in self._accounts.items()}
        self.registered: dict[str, bool] = {}  # trunks that register: whether they are
        pinged = [trunk for trunk in settings.trunks if trunk.ping_s]
        self._pings = [(0.0, trunk.name, one.gateway) for trunk in pinged for one in trunk.destinations]
        self._pinged: dict[int, tuple[str, str, float]] = {}  # by number: trunk, gateway, until when it may be silent

    def _account(self, identity: str, kind: Transport, srtp: Srtp | None = None, **more: object) -> int:
        used, keying = self._settings.encryption(kind, srtp)
        level = list(Srtp).index(used)
        why, account = self._sip.account(
            identity,
            TRANSPORTS.index(kind),
            srtp=level,
            keying=",".join(keying),
            **more,  # type: ignore[arg-type]
        )
        if why:
            raise OSError(f"PJSIP does not take {identity}: {why}")
        return account

    def _trunk_account(self, trunk: Trunk) -> int:
        host, login = trunk.destinations[0].gateway.rsplit(":", 1)[0], trunk.login
        known = [network for network in networks(trunk.networks()) if network.version == 4]
        sources = tuple((str(network.network_address), network.prefixlen) for network in known)
        if login is None:
            identity = f"sip:cordboard@{self._settings.address}"
            return self._account(identity, trunk.transport, trunk.srtp, sources=sources)
        return self._account(
            sip_uri(login.user, host),
            trunk.transport,
            trunk.srtp,
            sources=sources,
            user=login.user,
            password=login.password,
            realm=login.realm,
            registrar=_by(f"sip:{login.registrar}", trunk.transport) if login.registrar else "",
            expires=login.expires,
        )

    # ---- out

    def find(self, dial: Dial, now: float) -> Way | Cause | str:
        """The way of a call; the cause of its end if there is no line, or no phone; why not, if it can't be dialed."""
        user = self._user(dial.to)
        if user is not None:
            dial = replace(dial, to=self.registrar.contact(user, now) if self.registrar else "", trunk="")
            if not dial.to:
                return Cause.UNREACHABLE
        trunk = self.trunks.get(dial.trunk)
        if dial.trunk and trunk is None:
            return "there is no such trunk"
        gateway = trunk.destinations[0].gateway if trunk else ""
        to = sip_uri(dial.to, gateway)
        own = gateway.rsplit(":", 1)[0] if trunk and trunk.login else self._settings.address
        caller = caller_uri(dial.caller, own) if dial.caller else ""
        if not to or (dial.caller and not caller):
            return "this is neither a SIP URI nor a number with a trunk"
        kind = trunk.transport if trunk else transport_of(to)
        if kind not in self._usual:
            return f"SIP has no port for {kind}"
        shown = f"<{caller}>" if caller else ""
        if trunk is None:
            return Way(to, self._usual[Transport(kind)], shown) if self._allowed(to) else BEYOND
        if not all(self._allowed(sip_uri("1", one.gateway)) for one in trunk.destinations):
            return BEYOND
        attempt = self.trunks.outgoing(trunk.name, now)
        if attempt is None:
            return Cause.CONGESTION
        way = Way(to, self._accounts[trunk.name], shown, dial.to, attempt=attempt)
        self._aim(way)
        return way

    def _user(self, to: str) -> str | None:
        """The user of the registrar whose phone is to be dialed: ``agent:NAME``, or a SIP address in its realm."""
        if to.startswith(AGENT):
            return to.removeprefix(AGENT)
        at_home = self._settings.registrar is not None and to.endswith(f"@{self._settings.registrar.realm}")
        return user_of(to) if at_home else None

    def _allowed(self, uri: str) -> bool:
        return self._settings.beyond_loopback or stays_here(uri)

    def _aim(self, way: Way) -> None:
        assert way.attempt is not None
        # PJSIP reads the transport of our own Contact from there.
        way.to = _by(sip_uri(way.number, way.attempt.destination.gateway), self.trunks[way.attempt.trunk].transport)

    def heard(self, way: Way) -> None:
        """The destination has said something."""
        if way.attempt is not None:
            self.trunks.works(way.attempt.trunk, way.attempt.destination.gateway)

    def next(self, way: Way, code: int, now: float) -> bool:
        """The destination did not take the call: ``code`` of SIP, 0 if nothing came. Whether the call may go to another
        one, which the way leads to from now on."""
        if way.attempt is None or 0 < code < 500 or code >= 600:
            return False
        trunk, gateway = way.attempt.trunk, way.attempt.destination.gateway
        if code in (0, UNAVAILABLE):
            if not self.trunks.rests(trunk, gateway, now):
                log.warning("trunk %s: %s does not take calls (%s)", trunk, gateway, code or "no answer")
            self.trunks.failed(trunk, gateway, now)
        if not self.trunks.next(way.attempt, now):
            return False
        self._aim(way)
        return True

    def patience(self, way: Way) -> float | None:
        """Seconds that a destination may be silent; None if only SIP's own limit holds."""
        return self.trunks[way.attempt.trunk].patience_s if way.attempt else None

    # ---- in

    def origin(self, source: str, now: float) -> str | None:
        """The trunk that a call came by, empty for a phone, None for a stranger. ``source``: address port transport."""
        if self.registrar is not None and self.registrar.owner(source, now):
            return ""
        try:
            address = ipaddress.ip_address(source.partition(" ")[0])
        except ValueError:
            return None
        return next((name for network, name in self._sources if address in network), None)

    # ---- beside calls

    @staticmethod
    def refused(source: str, code: int, requests: int) -> None:
        """Told at once, then at most once a minute for each source."""
        why = {UNAVAILABLE: "sends too many requests", SILENT: "opens connections and says nothing that is let in"}
        told = why.get(code, "is no source that may call")
        log.warning("SIP from %s is refused: it %s (%d since it was told of last)", source, told, requests)

    def happen(self, kind: int, account: int, number: int, code: int, text: str, now: float) -> None:
        """What PJSIP tells of registrations, theirs and ours, and of pings."""
        if kind == pj.REGISTER and self.registrar is not None:
            reply = self.registrar.register(Request.parse(text), now)
            self._sip.reply(number, reply.code, "\n".join(f"{name}: {value}" for name, value in reply.headers))
        elif kind == pj.REGISTERED and account in self._trunk_of:
            name, good = self._trunk_of[account], 200 <= code < 300
            if self.registered.get(name) != good:
                level = logging.INFO if good else logging.WARNING
                log.log(level, "trunk %s: registration %s", name, code or "unanswered")
            self.registered[name] = good
        elif kind == pj.PONG and number in self._pinged:
            trunk, gateway, _ = self._pinged.pop(number)
            if code and code != UNAVAILABLE:
                self.trunks.works(trunk, gateway)
            else:
                self.trunks.failed(trunk, gateway, now)

    def tick(self, now: float) -> None:
        """Send the pings that are due, and give up those that nobody has answered."""
        while self._pinged and next(iter(self._pinged.values()))[2] <= now:
            name, gateway, _ = self._pinged.pop(next(iter(self._pinged)))
            self.trunks.failed(name, gateway, now)
        while self._pings and self._pings[0][0] <= now:
            _, name, gateway = self._pings[0]
            trunk = self.trunks[name]
            why, number = self._sip.ping(_by(f"sip:{gateway}", trunk.transport), self._accounts[name])
            if why:
                self.trunks.failed(name, gateway, now)
            else:
                self._pinged[number] = (name, gateway, now + PING_S)
            heapq.heapreplace(self._pings, (now + trunk.ping_s, name, gateway))


def _by(uri: str, transport: Transport) -> str:
    """The URI, reached by a transport."""
    return uri if transport is Transport.UDP or ";transport=" in uri else f"{uri};transport={transport.value}"
