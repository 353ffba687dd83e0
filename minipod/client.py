"""The one API client: typed verbs over a transport.

The daemon's own parts use it in-process (`server` hands the transport out), everything else over HTTP. In-process
means no socket, not a side door: the same identities, admission and validation. An answer is the caller's own copy;
what a watch delivers is shared and read only.
Objects are plain JSON dictionaries, as on the wire. Every failure is an `api.errors.StatusError`.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

Object = dict[str, Any]
PatchType = Literal["json", "merge", "strategic", "apply"]
WatchType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]


@dataclass(frozen=True)
class ObjectList:
    """The items of a list and the resourceVersion to watch from."""

    items: list[Object]
    resource_version: str
    continue_token: str = ""


@dataclass(frozen=True)
class WatchEvent:
    """One change. `object` (a Status for ERROR) is read only: whoever watches the same may have the same one.

    What is told early is not durable yet, and is told again when it is.
    """

    type: WatchType
    object: Object
    early: bool = False


@dataclass(frozen=True)
class Request:
    """One call, transport-neutral: what the HTTP server parses a request into, and what the client builds.

    `resource` is the plural name, with its group where it has one ("pods", "deployments.apps"); `version` chooses
    among the versions that are served, "" is the preferred one.
    """

    verb: Literal["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"]
    resource: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    body: Any = None
    patch_type: PatchType | None = None
    options: Mapping[str, str] = field(
        default_factory=dict
    )  # query parameters, by their wire names
    user: str = "system:admin"
    groups: tuple[str, ...] = ("system:masters", "system:authenticated")
    version: str = ""
    user_agent: str = ""
    uid: str = ""  # of the user, with what else authentication found out about it
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    early: bool = False  # watch changes that are not durable yet; only within the daemon


class Transport(Protocol):
    """Carries requests to an API server."""

    async def call(self, request: Request) -> Object:
        """Perform one request and return its object (or List). Raises StatusError."""

    def watch(self, request: Request) -> AsyncIterator[WatchEvent]:
        """Perform a watch. Raises StatusError (410 Gone when the version is compacted)."""


class Client:
    """Verbs for one identity. `namespace` is "" for cluster-scoped resources and for all namespaces."""

    def __init__(
        self,
        transport: Transport,
        user: str = "system:admin",
        groups: tuple[str, ...] = ("system:masters", "system:authenticated"),
        user_agent: str = "minipod",
    ) -> None:
        self._transport = transport
        self._user = user
        self._groups = groups
        self._user_agent = user_agent

    def calling_itself(self, user_agent: str) -> "Client":
        """Return the same client by another name, which managedFields then give for what it writes."""
        return Client(self._transport, self._user, self._groups, user_agent)

    def acting_as(self, user: str, *groups: str, user_agent: str = "") -> "Client":
        """Return a client of somebody else's, over the same transport."""
        agent = user_agent or self._user_agent
        return Client(self._transport, user, (*groups, "system:authenticated"), agent)

    def for_controller(self, name: str) -> "Client":
        """Return the client of one of upstream's controllers, with the rights that it has there."""
        return ControllerClient(self._transport, name)

    def _request(self, verb: Any, resource: str, namespace: str, **parts: Any) -> Request:
        return Request(
            verb=verb,
            resource=resource,
            namespace=namespace,
            user=self._user,
            groups=self._groups,
            user_agent=self._user_agent,
            **parts,
        )

    async def get(self, resource: str, namespace: str, name: str) -> Object:
        """Return one object. StatusError NotFound."""
        return await self._transport.call(self._request("get", resource, namespace, name=name))

    async def list(
        self,
        resource: str,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> ObjectList:
        """Return all matching objects, and the version they were read at."""
        options = _selectors(label_selector, field_selector)
        found = await self._transport.call(
            self._request("list", resource, namespace, options=options)
        )
        return ObjectList(found["items"], found["metadata"]["resourceVersion"])

    def watch(
        self,
        resource: str,
        namespace: str = "",
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
        early: bool = False,
    ) -> AsyncIterator[WatchEvent]:
        """Yield changes after `resource_version`, until cancelled. StatusError Expired when it is too old.

        `early` asks to be told of bindings before they are durable too, where the server is in this process. What this
        user asks for after that waits until they are; should one never be, the watch has expired.
        """
        options = _selectors(label_selector, field_selector)
        options["allowWatchBookmarks"] = "true"
        if resource_version:
            options["resourceVersion"] = resource_version
        return self._transport.watch(
            self._request("watch", resource, namespace, options=options, early=early)
        )

    async def create(
        self, resource: str, namespace: str, obj: Object, *, name: str = "", subresource: str = ""
    ) -> Object:
        """Create an object, or post to a subresource ("binding") of `name`."""
        return await self._transport.call(
            self._request(
                "create", resource, namespace, name=name, subresource=subresource, body=obj
            )
        )

    async def update(
        self, resource: str, namespace: str, obj: Object, *, subresource: str = ""
    ) -> Object:
        """Replace an object (or its status). StatusError Conflict when its resourceVersion is not the newest."""
        name = obj["metadata"]["name"]
        return await self._transport.call(
            self._request(
                "update", resource, namespace, name=name, subresource=subresource, body=obj
            )
        )

    async def patch(
        self,
        resource: str,
        namespace: str,
        name: str,
        patch: Any,
        *,
        patch_type: PatchType = "merge",
        subresource: str = "",
    ) -> Object:
        """Change parts of an object."""
        return await self._transport.call(
            self._request(
                "patch",
                resource,
                namespace,
                name=name,
                subresource=subresource,
                body=patch,
                patch_type=patch_type,
            )
        )

    async def delete(
        self,
        resource: str,
        namespace: str,
        name: str,
        *,
        grace_period_seconds: int | None = None,
        uid: str = "",
        propagation_policy: str = "",
    ) -> Object:
        """Delete an object: a Pod on a node is marked, and gone once its node has ended it (grace 0: at once)."""
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if grace_period_seconds is not None:
            body["gracePeriodSeconds"] = grace_period_seconds
        if uid:
            body["preconditions"] = {"uid": uid}
        if propagation_policy:
            body["propagationPolicy"] = propagation_policy
        return await self._transport.call(
            self._request("delete", resource, namespace, name=name, body=body)
        )


class ControllerClient(Client):
    """A controller's client: it lists and watches as the controller manager, whose informers all controllers share.

    All else it does as its own ServiceAccount of kube-system, with the rights of `system:controller:NAME`.
    """

    def __init__(self, transport: Transport, name: str) -> None:
        account = f"system:serviceaccount:kube-system:{name}"
        groups = ("system:serviceaccounts", "system:serviceaccounts:kube-system")
        super().__init__(
            transport, account, (*groups, "system:authenticated"), "kube-controller-manager"
        )

    def _request(self, verb: Any, resource: str, namespace: str, **parts: Any) -> Request:
        made = super()._request(verb, resource, namespace, **parts)
        if verb not in ("list", "watch"):
            return made
        manager = "system:kube-controller-manager"
        return replace(made, user=manager, groups=("system:authenticated",))


def _selectors(label_selector: str, field_selector: str) -> dict[str, str]:
    options = {}
    if label_selector:
        options["labelSelector"] = label_selector
    if field_selector:
        options["fieldSelector"] = field_selector
    return options
