"""The node's part of Services (upstream's kube-proxy, nftables mode, KEP-3866): keeps the packet rules in step.

Changes that come together are one transaction; what the kernel has
stays when the daemon goes, and is brought up to date, not begun anew, when it returns.
"""

import asyncio
import logging

from minipod.clock import Clock, call_off
from minipod.linux import conntrack, nft
from minipod.network import bridge
from minipod.network.bridge import NetworkFacts
from minipod.network.service_rules import Target, compute_commands, compute_targets
from minipod.network.service_view import ServiceView
from minipod.paths import Layout

logger = logging.getLogger(__name__)

TOGETHER = 0.02  # seconds to wait for further changes before the rules are written
_RETRY = 1.0


class ServiceProxy:
    """One instance's Services. `await start()` returns once the rules are as the API says, or their writing failed."""

    def __init__(
        self, view: ServiceView, clock: Clock, layout: Layout, facts: NetworkFacts
    ) -> None:
        self._view = view
        self._clock = clock
        self._layout = layout
        self._facts = facts
        self._behind: set[str] = set()  # addresses that UDP flows may be remembered to
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Write the rules, and follow the view. A failure is told of and tried again: it keeps no daemon down."""
        self._view.on_change(self._changed.set)
        await self._try()
        self._task = asyncio.create_task(self._follow(), name="service rules")

    def renew(self) -> None:
        """Have the rules written again: the table that they were in has been made anew."""
        self._changed.set()

    async def stop(self) -> None:
        """End; the rules stay."""
        await call_off(self._task)

    async def _follow(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(TOGETHER)
            await self._try()

    async def _try(self) -> None:
        try:
            await self._write()
        except Exception as failure:  # one Service's trouble must not end the following of all
            known = isinstance(failure, OSError)
            logger.warning("service rules: %s; trying again", failure, exc_info=not known)
            self._clock.call_at(self._clock.now() + _RETRY, self._changed.set)

    async def _write(self) -> None:
        self._changed.clear()
        targets = compute_targets(self._view.services, self._view.slices)
        await asyncio.to_thread(self._apply, targets, self._view.ranges())

    def _apply(self, targets: list[Target], ranges: list[str]) -> None:
        """Write rules, then routes: an address that has a route and no rule would be asked for on the bridge."""
        table = self._facts.table
        chains, sets = nft.chains("inet", table), nft.sets("inet", table)
        commands = compute_commands(table, targets, ranges, chains, sets)
        nft.run("inet", table, commands)
        bridge.ensure_service_routes(self._layout, self._facts, ranges)
        behind = {ip for each in targets if each.protocol == "udp" for ip, _ in each.endpoints}
        for address in self._behind - behind:
            conntrack.forget_flows(address)
        self._behind = behind
