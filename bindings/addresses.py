"""Addresses: who may be dialed, who may call, and how they are written in SIP."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import quote, unquote

_HOST = r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]{1,253})(?::\d{1,5})?"
_URI = re.compile(r"sips?:(?:([^@\s<>\"]{1,256})@)?" + _HOST + r"((?:;[^\s<>\"?]*)?)")
_NUMBER = re.compile(r"[0-9A-Za-z+*#._-]{1,64}")
_WITHHELD = {"anonymous", "unknown", "unavailable", "restricted"}
_SIP_USER = re.compile(r"sips?:([^@;>\s]*)@")


def sip_uri(to: str, gateway: str = "") -> str:
    """The SIP URI of what is to be dialed: a URI as it is, a number at a gateway; empty if it is neither."""
    if _URI.fullmatch(to):
        return to
    uri = f"sip:{quote(to, safe='+*')}@{gateway}"
    return uri if _NUMBER.fullmatch(to) and _URI.fullmatch(uri) else ""


def caller_uri(caller: str, host: str) -> str:
    """What the other side is shown: a URI as it is, a number at our own address; empty if it is neither."""
    return sip_uri(caller, host)


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine alone, without asking a name server."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def stays_here(uri: str) -> bool:
    """Whether a request for the URI can't leave this machine."""
    found = _URI.fullmatch(uri)
    return found is not None and is_loopback(found.group(2)) and "maddr" not in found.group(3).lower()


def host_of(gateway: str) -> str:
    """The host of host or host:port, an address of IPv6 without its brackets."""
    found = re.fullmatch(_HOST, gateway)
    return found.group(1).strip("[]") if found else gateway


def transport_of(uri: str) -> str:
    """What a SIP URI says that it is reached by: udp, tcp or tls; or whatever else it says."""
    found = re.search(r";transport=([^;]*)", uri.lower())
    return "tls" if uri.startswith("sips:") else found.group(1) if found else "udp"


def user_of(uri: str) -> str:
    """The number or user of a URI or of a From header; empty if there is none or it is withheld."""
    found = _SIP_USER.search(uri)
    user = unquote(found.group(1)) if found else ""
    return "" if user.lower() in _WITHHELD else user[:256]


def networks(texts: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """Networks such as 10.0.0.0/8; a single address is one of a single machine. ValueError if one is not."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def within_ipv6(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> tuple[bytes, int]:
    """The address of a network, 16 bytes, and how many bits of it count; one of IPv4 lies within ::ffff:0:0/96."""
    if network.version == 6:
        return network.network_address.packed, network.prefixlen
    return bytes(10) + b"\xff\xff" + network.network_address.packed, network.prefixlen + 96
