"""What a SIP media layer is told before it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cordboard.bindings.addresses import is_loopback, networks, sip_uri
from cordboard.errors import InputError, Where


@dataclass(frozen=True, slots=True)
class Trunk:
    """Where numbers are dialed, and calls come from. ``gateway``: host, or host:port. ``sources``: the addresses that
    its calls come from, if they are not the gateway's own."""

    name: str
    gateway: str
    sources: tuple[str, ...] = ()

    def networks(self) -> tuple[str, ...]:
        """Where its calls come from."""
        return self.sources or (self.gateway.rsplit(":", 1)[0],)


@dataclass(frozen=True, slots=True)
class SipSettings:
    """``prompts``: the folder of the prompts, WAV files of 16 bits, one channel; ``recordings``: the one of recordings.
    ``address``: IP address for SIP and RTP; ``port``: of SIP, UDP, 0 for a free one. ``beyond_loopback``: other
    machines can be called and can call; otherwise only loopback addresses are accepted, here and in Dial.

    ``phones``: networks that may call without a trunk; a call from anywhere else is answered 403 and not reported.
    ``headers``: names of those that Incoming passes on. ``codecs``: PJSIP's names, best first. ``legs_max``: at once; a
    leg whose end the other side has not confirmed counts too. ``events_max``: between two calls of ``reports``.
    ``silence_s``: a leg whose audio came and then stops for so long is over; 0: never. ``log_level``: of PJSIP, 0 to 5,
    to standard error."""

    prompts: Path
    recordings: Path
    address: str = "127.0.0.1"
    port: int = 0
    beyond_loopback: bool = False
    trunks: tuple[Trunk, ...] = ()
    phones: tuple[str, ...] = ("127.0.0.0/8",)
    headers: tuple[str, ...] = ("P-Asserted-Identity", "Diversion", "Identity")
    codecs: tuple[str, ...] = ("PCMA/8000/1", "PCMU/8000/1", "G722/16000/1", "opus/48000/2")
    rtp_port: int = 16384
    rtp_ports: int = 32768
    legs_max: int = 4096
    events_max: int = 65536
    silence_s: float = 60.0
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
        for trunk in self.trunks:
            if not sip_uri("1", trunk.gateway):
                raise InputError(f"{trunk.gateway} is no gateway", Where(key=trunk.name), "Write host or host:port")
            self._check(trunk.networks(), trunk.name)
        self._check(self.phones, "phones")

    @staticmethod
    def _check(sources: tuple[str, ...], key: str) -> None:
        try:
            networks(sources)
        except ValueError as error:
            raise InputError(str(error), Where(key=key), "Write an address or a network such as 10.0.0.0/8") from error
