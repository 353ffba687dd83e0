"""The default roles and bindings in the store: made, and kept complete, at every start (rbac's post-start hook)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from minipod.api.errors import StatusError
from minipod.api.rbac import controller_roles, default_roles
from minipod.api.rbac.default_roles import API_GROUP
from minipod.api.rbac.reconcile import compute_binding, compute_role, refers_elsewhere
from minipod.client import Object, Request

Perform = Callable[[Request], Awaitable[Any]]
Find = Callable[[str, str, str], Object | None]


async def ensure_policy(perform: Perform, find: Find) -> None:
    """Make what is missing of the default roles and bindings, and complete what lacks something. Raises StatusError.

    All at once: the store commits them together, and a first start does not wait for the disk a hundred times.
    """
    roles = (
        *default_roles.cluster_roles(),
        *controller_roles.controller_roles(),
        *controller_roles.namespace_roles(),
    )
    bindings = (
        *default_roles.cluster_role_bindings(),
        *controller_roles.controller_role_bindings(),
        *controller_roles.namespace_role_bindings(),
    )
    await asyncio.gather(
        *(_ensure(perform, find, role, compute_role) for role in roles),
        *(_ensure(perform, find, binding, compute_binding) for binding in bindings),
    )


async def _ensure(
    perform: Perform, find: Find, wanted: Object, compute: Callable[[Object, Object], Object | None]
) -> None:
    resource = f"{wanted['kind'].lower()}s.{API_GROUP}"
    metadata = wanted["metadata"]
    where = resource, metadata.get("namespace", ""), metadata["name"]
    found = find(*where)
    if found is not None and "roleRef" in found and refers_elsewhere(found, wanted):
        await perform(Request("delete", *where))
        found = None
    try:
        if found is None:
            await perform(Request("create", *where[:2], body=wanted))
        elif (made := compute(found, wanted)) is not None:
            await perform(Request("update", *where, body=made))
    except StatusError as error:
        if error.reason not in ("AlreadyExists", "Conflict"):
            raise
