"""The file of calls of one tenant, read again while calls are up.

The file stays where the server found it: it has addresses of phones, which are in no journal, and the next start reads
it, too. Media nodes need not hear of a change: an address comes with the command that dials it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cordboard.calls.config import Calls, load_calls
from cordboard.errors import InputError, Where
from cordboard.live import Outcome

if TYPE_CHECKING:
    from cordboard.services.tenants import Tenant


class CallsFile:
    """See above. ``path``: empty if the server was started without one."""

    def __init__(self, tenant: Tenant, path: str) -> None:
        self._tenant, self.path = tenant, path
        self._turn = asyncio.Lock()

    async def read(self) -> Calls:
        """What the file says now, for the center as it is now. CallsError holds all that is wrong with it."""
        if not self.path:
            hint = "Start it with --calls FILE, or with calls = under the tenant"
            raise InputError("the server has no file of calls for this tenant", Where(key="calls"), hint)
        calls = await asyncio.to_thread(load_calls, self.path, self._tenant.engine.center)
        if calls == Calls():  # an editor may be writing it; without this, all would be taken away
            raise InputError("the file of calls is empty", Where(self.path), "Write it whole, and try again")
        return calls

    async def reload(self, *, etag: str = "", request_id: str = "", actor: str = "") -> Outcome:
        """Go over to what the file says now, in the journal first. What can't be read, or is refused, changes
        nothing."""
        async with self._turn:
            tenant, calls = self._tenant, await self.read()
            before = tenant.outbound.calls
            tenant.nodes.change(calls, before)  # first: what is decided from then on may dial a phone that is new
            try:
                future = tenant.engine.change_calls(calls, etag=etag, request_id=request_id, actor=actor)
                outcome = await tenant.settle(future)
                if outcome.entry.error is not None:
                    raise outcome.entry.error
            except BaseException:
                tenant.nodes.change(before, before)
                raise
            await tenant.outbound.change(calls)
            return outcome
