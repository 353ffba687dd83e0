"""That the packet rules stay: whoever removes our tables (`nft flush ruleset`, a firewall's restart) gets them anew.

The kernel tells of every change of the host's rules, our own among them: each is an occasion to look whether the two
tables are still those that we have made. A table that somebody has put in the place of ours has another handle, and
counts as none: it may be a copy from last week.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from minipod.linux import nft
from minipod.linux.nft_changes import RuleChanges
from minipod.network import bridge
from minipod.network.bridge import NetworkFacts
from minipod.paths import Layout

logger = logging.getLogger(__name__)

TOGETHER = 0.02  # seconds to wait for further changes before looking
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0  # after making the tables: twice as long each time,
CALM = 10.0  # ... until nobody has removed them for so long
FAMILIES = {"inet", "bridge"}


class RuleWatch:
    """Watches one instance's tables; `refill` writes what belongs into them when they have been made anew."""

    def __init__(
        self, layout: Layout, facts: NetworkFacts, refill: Callable[[], Awaitable[None]]
    ) -> None:
        self._layout = layout
        self._facts = facts
        self._refill = refill
        self._ours: dict[str, int] = {}  # the tables' handles
        self._filled = True
        self._told = asyncio.Event()
        self._pause, self._not_before = FIRST_PAUSE, 0.0
        self._changes: RuleChanges | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take the tables that there are for ours, and begin to watch them."""
        self._changes = RuleChanges()
        self._ours = nft.table_handles(self._facts.table)  # what comes after this is told of
        self._task = asyncio.create_task(self._follow(self._changes), name="rule watch")
        self._told.set()  # of what came before

    async def stop(self) -> None:
        """End; the rules stay."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._changes is not None:
            asyncio.get_running_loop().remove_reader(self._changes)
            self._changes.close()

    async def _follow(self, changes: RuleChanges) -> None:
        loop = asyncio.get_running_loop()
        while True:
            loop.add_reader(changes, self._be_told, changes)
            await self._told.wait()
            await asyncio.sleep(max(TOGETHER, self._not_before - loop.time()))
            self._told.clear()
            try:
                changes.drain()
                await self._look()
            except Exception as failure:  # whatever it is: Pods must not be without rules for good
                known = isinstance(failure, OSError)
                logger.warning("packet rules: %s; trying again", failure, exc_info=not known)
                self._take_turn()
                self._told.set()

    def _be_told(self, changes: RuleChanges) -> None:
        """Hear no more until it has been looked: a Pod's start changes rules, too, and shall not wait for us."""
        asyncio.get_running_loop().remove_reader(changes)
        self._told.set()

    async def _look(self) -> None:
        table = self._facts.table
        found = nft.table_handles(table)  # reads no table: a tenth of a millisecond
        are_ours = found == self._ours and found.keys() >= FAMILIES
        if are_ours and self._filled:
            return
        if not are_ours:
            self._take_turn()
            logger.warning(
                'the packet rules of table "%s" were removed by somebody else, as "nft flush ruleset" does; '
                "making them anew, with the Pods' host ports and the Services",
                table,
            )
            self._filled = False
            await asyncio.to_thread(bridge.renew_rules, self._layout, self._facts)
            self._ours = nft.table_handles(table)
        await self._refill()
        self._filled = True

    def _take_turn(self) -> None:
        """Be slower each time: somebody may remove again and again what we make, or it cannot be made."""
        now = asyncio.get_running_loop().time()
        calm = now > self._not_before + CALM
        self._pause = FIRST_PAUSE if calm else min(2 * self._pause, LONGEST_PAUSE)
        self._not_before = now + self._pause
