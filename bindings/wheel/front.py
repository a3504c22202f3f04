"""The one SIP port of the pool: a relay without state of its own but which call is whose, in front of the children.

Every child has a SIP port that nobody is told of until it speaks itself. Requests come here; a new call goes to the
child that the pool chooses, all others to the child of their Call-ID. It is the stateless proxy of RFC 3261 section
16.11: it adds a Via on the way in and takes it away on the way back, so any peer can use it; whoever follows Contact,
as RFC 3261 wants it, speaks to the child directly once the call is answered. Here are no sockets and no clock.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import TypeAlias

from cordboard.bindings.wheel.message import Message, parameter, without

Address: TypeAlias = tuple[str, int]
BRANCH = "z9hG4bKcordboard"
CALLS_MAX = 10_000  # calls whose child is remembered; beyond, the one that was silent for longest is forgotten
REASONS = {403: "Forbidden", 481: "Call Does Not Exist", 483: "Too Many Hops", 503: "Service Unavailable"}


class Front:
    """``address``: its own. ``place`` chooses a child for a request that begins something (its method, and who sent
    it), or says which code refuses it. ``children``: their SIP addresses at present."""

    def __init__(
        self,
        address: Address,
        place: Callable[[str, str], Address | int],
        children: Callable[[], Collection[Address]],
        secret: bytes,
    ) -> None:
        self._address, self._place, self._children, self._secret = address, place, children, secret
        self._calls: OrderedDict[str, Address] = OrderedDict()

    def take(self, data: bytes, source: Address) -> tuple[bytes, Address] | None:
        """What a datagram leads to: another one, and where it goes."""
        message = Message.parse(data)
        if message is None:
            return None
        return self._back(message, source) if not message.method else self._forth(message, source)

    def _back(self, message: Message, source: Address) -> tuple[bytes, Address] | None:
        """A response of a child, to where its request came from."""
        vias = message.all("via")
        if source not in self._children() or len(vias) < 2 or not parameter(vias[0], "branch").startswith(BRANCH):
            return None
        message.replace("via", None)
        port = parameter(vias[1], "rport")
        return (message.data(), (parameter(vias[1], "received"), int(port))) if port.isdigit() else None

    def _forth(self, message: Message, source: Address) -> tuple[bytes, Address] | None:
        """A request, to its child."""
        via, call, method = message.get("via"), message.get("call-id"), message.method
        came = f"{without(via, 'received', 'rport')};received={source[0]};rport={source[1]}"
        message.replace("via", came)
        hops = message.get("max-forwards") or "70"
        if not hops.isdigit() or int(hops) < 1:
            return self._refuse(message, source, 483)
        child = self._calls.get(call)
        if child is None:
            if method == "ACK":  # of a refusal of ours
                return None
            if parameter(message.get("to"), "tag") or method == "CANCEL":
                return self._refuse(message, source, 481)
            found = self._place(method, source[0])
            if isinstance(found, int):
                return self._refuse(message, source, found)
            child = found
        if child not in self._children():
            del self._calls[call]
            return self._refuse(message, source, 481)
        if method == "INVITE" or call in self._calls:
            self._calls[call] = child
            self._calls.move_to_end(call)
            while len(self._calls) > CALLS_MAX:
                self._calls.popitem(last=False)
        if message.get("max-forwards"):
            message.replace("max-forwards", str(int(hops) - 1))
        # The same for an INVITE, its CANCEL and the ACK of its refusal, whose topmost branch is the same, too.
        digest = hashlib.sha256(self._secret + f"{call} {parameter(via, 'branch')}".encode("latin-1")).hexdigest()[:24]
        ours = f"SIP/2.0/UDP {self._address[0]}:{self._address[1]};branch={BRANCH}{digest};rport"
        message.headers.insert(0, ("Via", ours))
        return message.data(), child

    def _refuse(self, message: Message, source: Address, code: int) -> tuple[bytes, Address] | None:
        if message.method == "ACK":
            return None
        kept = [(name, value) for name, value in message.headers if name.lower() in _REPLIED]
        answer = Message(f"SIP/2.0 {code} {REASONS[code]}", kept, b"")
        to = answer.get("to")
        if not parameter(to, "tag"):
            digest = hashlib.sha256(self._secret + message.get("call-id").encode("latin-1")).hexdigest()[:12]
            answer.replace("to", f"{to};tag={digest}")
        if code == 503:
            answer.headers.append(("Retry-After", "2"))
        answer.headers.append(("Content-Length", "0"))
        return answer.data(), source


_REPLIED = frozenset({"via", "v", "from", "f", "to", "t", "call-id", "i", "cseq"})
