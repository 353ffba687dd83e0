"""What a Pod refers to: looked up for its start, and again whenever it has changed, for its volumes to follow."""

import asyncio
import os
from dataclasses import replace

from minipod import fault
from minipod.api.errors import StatusError
from minipod.client import Object
from minipod.node.bounded import bounded
from minipod.node.environment import References
from minipod.node.parts import Memory, Parts
from minipod.node.pods import uid_of
from minipod.node.projection import DATA
from minipod.node.references import fetch_references, find_tokens
from minipod.node.service_variables import compute_service_variables
from minipod.node.tokens import Wanted
from minipod.node.volumes import PreparedVolume, compute_available_volumes
from minipod.runtime.operations import KeepOnly


class Refresher:
    """Looks up what Pods refer to, and brings their volumes up to date."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def fetch(self, pod: Object, memory: Memory) -> References:
        """Return what the Pod refers to, as it is now. What changes from here on makes it stale again. StatusError."""
        parts, memory.stale = self._parts, False
        references, (tokens, failures) = await asyncio.gather(
            fetch_references(parts.client, pod), self._fetch_tokens(pod)
        )
        parts.watches.note(pod, references)
        services = compute_service_variables(pod, parts.services)
        return replace(
            references,
            tokens=tokens,
            token_failures=failures,
            services=services,
            allocatable=parts.allocatable,
        )

    async def _fetch_tokens(self, pod: Object) -> tuple[dict[Wanted, str], dict[Wanted, str]]:
        """Return the Pod's tokens, and of those that cannot be had why not."""
        wanted = list(find_tokens(pod))
        made = await asyncio.gather(
            *(self._parts.tokens.get(pod, each) for each in wanted), return_exceptions=True
        )
        tokens, failures = dict[Wanted, str](), dict[Wanted, str]()
        for each, result in zip(wanted, made, strict=True):
            if isinstance(result, StatusError):
                failures[each] = str(result)
            elif isinstance(result, BaseException):
                raise result
            else:
                tokens[each] = result
        return tokens, failures

    async def refresh(self, pod: Object) -> None:
        """Bring volumes that follow API objects to what these are now.

        StepError for the first that cannot be: it stays as it was, and the others are brought up to date. A token that
        cannot be had leaves the Pod stale, since nothing will tell of it; what is missing is told of when it comes.
        """
        memory = self._parts.memory(uid_of(pod))
        references = await self.fetch(pod, memory)
        directory = self._parts.config.pod_directory(uid_of(pod))
        volumes, failures = compute_available_volumes(pod, directory, references)
        memory.stale |= bool(references.token_failures)
        for volume in volumes.values():
            if not _is_current(volume):
                fault.point("node.volumes.refreshing")
                await bounded(self._parts.runtime.perform(volume.operations))
                memory.volumes[volume.name] = volume
        if failures:
            raise failures[0]


def _is_current(volume: PreparedVolume) -> bool:
    """Whether a volume shows its files already, and holds no others (always, for one that follows no objects)."""
    if not volume.version:
        return True
    kept = [each.names for each in volume.operations if isinstance(each, KeepOnly)]
    try:
        shown = os.readlink(f"{volume.path}/{DATA}") == volume.version
        return shown and set(os.listdir(volume.path)) == {name for names in kept for name in names}
    except OSError:
        return False
