"""Streams: log, exec, attach, port-forward, proxy. Who is to answer, and what is asked there."""

from dataclasses import replace

from aiohttp import web

from minipod.api.kind import Kind
from minipod.client import Object, Request
from minipod.server import wire
from minipod.server.pod_streams import exec_target, forward_target, log_target
from minipod.server.proxy_locations import (
    Location,
    Wanted,
    locate_node,
    locate_pod,
    locate_service,
    parse_wanted,
    port_name,
)
from minipod.server.proxying import BackendProxy
from minipod.server.resources import Resources, find_kind
from minipod.server.routes import Target
from minipod.server.streams import NodeStreams

STREAMS = ("log", "exec", "attach", "portforward", "proxy")
_INTO_CONTAINERS = (
    "exec",
    "attach",
    "portforward",
)  # a GET, over WebSocket, takes leave to create as well


class Streams:
    """Answers them: most are the kubelet's, the proxies to Pods and Services go there directly."""

    def __init__(self, resources: Resources, node: NodeStreams, backends: BackendProxy) -> None:
        self._resources = resources
        self._node = node
        self._backends = backends

    async def close(self) -> None:
        """Give up the idle connections."""
        await self._node.close()
        await self._backends.close()

    async def answer(
        self, http: web.BaseRequest, request: Request, target: Target, kind: Kind
    ) -> web.StreamResponse:
        """Find the object, then let the other end answer. Raises StatusError."""
        find_kind(request)
        if target.subresource == "proxy":
            return await self._proxy(http, target, kind)
        if request.verb == "get" and target.subresource in _INTO_CONTAINERS:
            self._resources.authorize(replace(request, verb="create"))
        pod = self._get(kind, target.namespace, target.name)
        query = list(http.rel_url.query.items())
        if target.subresource == "portforward":
            return await self._node.forward(http, forward_target(pod, query))
        if target.subresource != "log":
            return await self._node.forward(http, exec_target(pod, target.subresource, query))
        where = log_target(pod, query)
        if where is None:
            return web.Response(body=b"", content_type="text/plain")
        return await self._node.forward(http, where)

    async def _proxy(self, http: web.BaseRequest, target: Target, kind: Kind) -> web.StreamResponse:
        wanted = parse_wanted(kind.singular_name, target.name)
        found = self._get(kind, target.namespace, wanted.name)
        location: Location | None
        if kind.plural == "nodes":
            location = locate_node(found, wanted)
        elif kind.plural == "pods":
            location = locate_pod(found, wanted)
        else:
            location = self._locate_service(found, wanted)
        if location is not None:
            return await self._backends.forward(http, location, target.rest)
        query = http.rel_url.raw_query_string
        rest = target.rest or "/"
        return await self._node.forward(http, f"{rest}?{query}" if query else rest)

    def _locate_service(self, service: Object, wanted: Wanted) -> Location:
        port = port_name(service, wanted)
        metadata = service["metadata"]
        namespace = metadata["namespace"]
        found = self._resources.get_object("endpoints", namespace, metadata["name"])
        return locate_service(
            wire.decode(found.value),
            wanted,
            port,
            lambda name: self._resources.find_object("pods", namespace, name),
        )

    def _get(self, kind: Kind, namespace: str, name: str) -> Object:
        found: Object = wire.decode(
            self._resources.get_object(kind.resource, namespace, name).value
        )
        return found
