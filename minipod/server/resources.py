"""Requests to verbs: the one way in, for HTTP and in-process callers alike.

Authorize, find the kind, do the verb. What comes out is encoded and shared with nobody.
"""

import asyncio
import contextlib
from dataclasses import replace

from minipod.api import kinds
from minipod.api.errors import (
    StatusError,
    bad_request,
    expired,
    internal_error,
    method_not_supported,
    page_not_found,
    service_unavailable,
    status_error,
    timeout,
)
from minipod.api.kind import Kind
from minipod.api.rbac.attributes import Attributes, resource_attributes
from minipod.client import Object, Request
from minipod.server import keys, scaling, subresources, wire
from minipod.server.admission import DEFAULT_ACCOUNT, Admission
from minipod.server.answers import Answer, One
from minipod.server.authorization import Authorizer
from minipod.server.deletion import Deleter
from minipod.server.escalation import EscalationGuard
from minipod.server.eviction import evict
from minipod.server.first_objects import first_objects
from minipod.server.identity import Identity
from minipod.server.pod_presets import conflict_event
from minipod.server.policy import ensure_policy
from minipod.server.reading import Reader
from minipod.server.reviews import Reviews
from minipod.server.signing_requests import SigningGuard
from minipod.server.token_authentication import LAST_USED, Credentials, TokenAuthenticator
from minipod.server.token_requests import TokenRequests
from minipod.server.usage_metrics import GROUP, Fetch, UsageMetrics
from minipod.server.watching import ResourceWatch
from minipod.server.writing import Writer
from minipod.store import Closed, CommitFailed, Compacted, InDoubt, Store, StoreError

ITSELF = "kube-apiserver"


class Resources:
    """Every verb on every kind, over one store."""

    def __init__(
        self, store: Store, credentials: Credentials | None = None, fetch: Fetch | None = None
    ) -> None:
        admission = Admission(store)
        self._store = store
        self.authorizer = Authorizer(store)
        credentials = credentials or Credentials()
        self.tokens = TokenAuthenticator(credentials, self.find_object)
        self.tokens.on_legacy_use = self._note_use
        self._token_requests = TokenRequests(credentials, self.find_object)
        self._reviews = Reviews(self.authorizer, self.tokens)
        self._admission = admission
        self._reader = Reader(store)
        self._writer = Writer(
            store, admission, EscalationGuard(self.authorizer), SigningGuard(self.authorizer)
        )
        self._writer.on_preset_conflict = self._tell_preset_conflict
        self._deleter = Deleter(store, admission, self._reader)
        self._usage = UsageMetrics(admission.view, fetch or _no_kubelet)
        self._telling: set[asyncio.Task[None]] = set()

    async def bootstrap(self, service_cidr: str) -> None:
        """Make what every cluster has: namespaces, priorities, the range of Service addresses, roles. Idempotent."""
        for resource, body in first_objects(service_cidr):
            if self.find_object(resource, "", body["metadata"]["name"]) is not None:
                continue
            try:
                await self._perform_itself(Request("create", resource, body=body))
            except StatusError as error:
                if error.reason != "AlreadyExists":
                    raise
        await ensure_policy(self._perform_itself, self.find_object)

    async def _perform_itself(self, request: Request) -> Answer:
        """Perform what the server asks of itself, under its own name (a field manager's)."""
        return await self.perform(replace(request, user_agent=ITSELF))

    async def perform(self, request: Request) -> Answer:
        """Perform any verb but watch. Raises StatusError, and nothing else that can be foreseen."""
        self.authorize(request)
        kind = find_kind(request)
        try:
            if self._reviews.answers(kind):
                return self._reviews.create(request, kind)
            if kind.group == GROUP:
                return await self._measured(request, kind)
            return await self._perform(request, kind)
        except StoreError as error:
            raise store_failure(error) from error

    async def settled(self, revision: int) -> None:
        """Wait until every write up to `revision` is durable, or has failed."""
        await self._store.settled(revision)

    def watch(self, request: Request) -> ResourceWatch:
        """Begin a watch. Raises StatusError."""
        self.authorize(request)
        kind = find_kind(request)
        if "watch" not in kind.verbs or request.subresource:
            raise method_not_supported(kind, "watch")
        try:
            return self._reader.watch(request, kind)
        except StoreError as error:
            raise store_failure(error) from error

    def authorize(self, request: Request) -> None:
        """Refuse what the caller may not do. Raises Forbidden."""
        identity = Identity(request.user, request.groups, request.uid, request.extra)
        self.authorizer.authorize(identity, attributes(request))

    def find_object(self, resource: str, namespace: str, name: str) -> Object | None:
        """Return the server's own copy of an object, None when there is none."""
        key = keys.object_key(kinds.by_resource(resource), namespace, name)
        entry = self._store.get(key)
        return None if entry is None else wire.stored(entry)

    def get_object(self, resource: str, namespace: str, name: str) -> Answer:
        """Return one object to the server's own parts. Raises NotFound."""
        kind = kinds.by_resource(resource)
        return self._reader.get(Request("get", resource, namespace, name), kind)

    async def _perform(self, request: Request, kind: Kind) -> Answer:
        match request.verb, request.subresource:
            case "get", "" | "status" | "approval" | "ephemeralcontainers" | "resize" if (
                request.name
            ):
                return self._reader.get(request, kind)
            case "list", "":
                return self._reader.list_objects(request, kind)
            case "create", "" if not request.name:
                return await self._create(request, kind)
            case "create", "token" | "binding" | "eviction" if request.name:
                return await self._create_below(request, kind)
            case "update", "" | "status" | "approval" | "ephemeralcontainers" | "resize" if (
                request.name
            ):
                return await self._writer.update(request, kind)
            case "update", "finalize" if kind.resource == "namespaces" and request.name:
                return await subresources.finalize(self._writer, request, kind)
            case "get", "scale" if request.name:
                return scaling.get(self._reader, request, kind)
            case "update" | "patch", "scale" if request.name:
                return await scaling.change(self._writer, request, kind)
            case "patch", "" | "status" | "approval" | "ephemeralcontainers" | "resize" if (
                request.name
            ):
                return await self._writer.patch(request, kind)
            case "delete", "" if request.name:
                return await self._deleter.delete(request, kind)
            case "deletecollection", "":
                return await self._deleter.delete_collection(request, kind)
        raise method_not_supported(kind, request.verb)

    async def _measured(self, request: Request, kind: Kind) -> Answer:
        objects = await self._usage.objects(kind)
        if request.name:
            return self._reader.get_computed(request, kind, objects)
        return self._reader.list_computed(request, kind, objects)

    async def _create_below(self, request: Request, kind: Kind) -> One:
        """Create what lies below an object: a token, a binding, an eviction."""
        if request.subresource == "token":
            return self._token_requests.create(request, kind)
        if request.subresource == "eviction":
            return await evict(self._writer, self._deleter, self._reader, request, kind)
        return await subresources.bind(self._writer, request, kind)

    async def _create(self, request: Request, kind: Kind) -> One:
        """Create an object; a namespace's default ServiceAccount is there before anybody can ask for it."""
        if kind.resource == "bindings":
            return await subresources.create_binding(self._writer, request)
        if kind.resource == "pods":
            await self._ensure_account(request.namespace)
        made = await self._writer.create(request, kind)
        if kind.resource == "namespaces" and not request.options.get("dryRun"):
            await self._ensure_account(wire.decode(made.value)["metadata"]["name"])
        return made

    def _tell_preset_conflict(self, pod: Object, message: str) -> None:
        """Make an Event on a Pod, without having the Pod's sender wait for it."""
        event = conflict_event({**pod, "apiVersion": "v1", "kind": "Pod"}, message)
        namespace = event["metadata"]["namespace"]
        self._write_later(Request("create", "events", namespace, body=event))

    def _note_use(self, secret: Object, date: str) -> None:
        """Label a Secret with the day of its token's last use, without having the token's bearer wait for it."""
        metadata = secret["metadata"]
        labels: Object = {"metadata": {"uid": metadata["uid"], "labels": {LAST_USED: date}}}
        at = (metadata["namespace"], metadata["name"])
        self._write_later(Request("patch", "secrets", *at, body=labels, patch_type="merge"))

    def _write_later(self, request: Request) -> None:
        task = asyncio.create_task(self._write(request), name=f"{request.verb} {request.resource}")
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _write(self, request: Request) -> None:
        with contextlib.suppress(StatusError):  # the namespace may end, the disk be full
            await self._perform_itself(request)

    async def _ensure_account(self, namespace: str) -> None:
        """Make the default ServiceAccount of a namespace when it is missing (and the namespace is there to stay)."""
        if not self._admission.account_missing(namespace):
            return
        body: Object = {"metadata": {"name": DEFAULT_ACCOUNT}}
        request = Request("create", "serviceaccounts", namespace, body=body)
        try:
            await self._writer.create(request, kinds.by_resource("serviceaccounts"))
        except StatusError as error:
            if error.reason not in ("AlreadyExists", "NotFound", "Forbidden"):
                raise


async def _no_kubelet(path: str) -> Object:
    raise service_unavailable("this server knows no kubelet")


def attributes(request: Request) -> Attributes:
    """Return what a request asks to be allowed."""
    return resource_attributes(
        request.verb,
        request.resource,
        request.namespace,
        request.name,
        request.subresource,
        version=request.version,
        field_selector=request.options.get("fieldSelector", ""),
    )


def find_kind(request: Request) -> Kind:
    """Return the kind of a request whose shape fits it. Raises NotFound, MethodNotAllowed, BadRequest."""
    try:
        if request.version:
            plural, _, group = request.resource.partition(".")
            kind = kinds.by_path(group, request.version, plural)
        else:
            kind = kinds.by_resource(request.resource)
    except kinds.UnknownKind:
        raise page_not_found() from None
    if request.subresource and kind.subresource(request.subresource) is None:
        raise page_not_found()
    if not request.subresource and request.verb not in kind.verbs:
        raise method_not_supported(kind, request.verb)
    everywhere = request.verb in ("list", "watch", "deletecollection") and not request.name
    if (
        kind.namespaced
        and not request.namespace
        and not (everywhere and request.verb != "deletecollection")
    ):
        if request.name:
            raise page_not_found()
        where = f"{request.verb} is not supported on {kind.resource} of all namespaces at once: name one"
        raise status_error(405, "MethodNotAllowed", where, {"kind": kind.plural})
    if not _reaches(request, kind):
        raise method_not_supported(kind, request.verb)
    if "/" in request.namespace or "/" in request.name:
        raise bad_request("a name or namespace cannot contain '/'")
    return kind


def _reaches(request: Request, kind: Kind) -> bool:
    """Whether the verb is one of this path: objects are created in their collection, and changed by their name."""
    below = kind.subresource(request.subresource) if request.subresource else None
    if below is not None:  # a proxy passes on whatever it is asked, also what is no verb
        return request.verb in below.verbs or request.subresource == "proxy"
    if request.verb == "create":
        return not request.name
    return bool(request.name) or request.verb not in ("update", "patch", "delete")


def store_failure(error: StoreError) -> StatusError:
    """Return what a caller is told about a failure of the store."""
    if isinstance(error, Compacted):
        return expired(str(error))
    if isinstance(error, Closed):
        return service_unavailable("the server is shutting down")
    if isinstance(error, CommitFailed):
        return internal_error(
            f"{error}; nothing was changed, try again when the disk can be written"
        )
    if isinstance(error, InDoubt):  # upstream's answer when etcd's is not known
        return timeout(str(error))
    return internal_error(str(error))
