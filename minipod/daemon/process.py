"""The daemon: builds every part, starts them in order, stops them in reverse. The process map on one screen.

    store -> API server -> client -> controllers (bootstrap, namespaces, scheduler, events)
                                  -> network, runtime (the shim), images -> node agent

Every part speaks to the others through the API client alone. SIGTERM and SIGINT stop the daemon and leave the Pods
running; the next daemon takes them up again. Readiness is told three ways: one byte on $MINIPOD_READY_FD, READY=1 to
systemd (sd_notify(3)), and 200 from /readyz.
"""

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING

from minipod.clock import call_off
from minipod.daemon.control_plane import (
    audit_options,
    first_address,
    make_credentials,
    make_serving,
)
from minipod.daemon.loading import import_aiohttp, import_parts
from minipod.daemon.node_side import (
    make_kubelet,
    make_network,
    node_name,
    open_runtime,
    serve_services,
)
from minipod.linux.memory import limit_arenas
from minipod.paths import Layout

if TYPE_CHECKING:
    from minipod.store import Store

logger = logging.getLogger("minipod.daemon")

SWITCH_SECONDS = 0.0005  # how long a thread that is back from the kernel waits for the interpreter


async def run(place: Layout, options: argparse.Namespace) -> None:
    """Be the daemon of a root, until a signal comes."""
    limit_arenas(1)  # a dozen threads would keep several megabytes more
    gc.disable()  # until `_settle_memory`: what a start makes is here to stay
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    began = time.monotonic()
    sys.setswitchinterval(SWITCH_SECONDS)
    async with contextlib.AsyncExitStack() as parts:
        if not await _done_before(stopping, _start(place, options, parts)):
            logger.info("stopped while it was starting; Pods keep running")
            return
        _tell_ready()
        with contextlib.suppress(OSError):  # the log's disk may be full
            print("minipod is ready", file=sys.stderr, flush=True)
        logger.info("ready after %.0f ms", (time.monotonic() - began) * 1000)
        _settle_memory()
        await stopping.wait()
        _notify("STOPPING=1")
    logger.info("stopped; Pods keep running")


async def _done_before(stopping: asyncio.Event, work: Coroutine[None, None, None]) -> bool:
    """Whether the work is done before a signal comes; then it is cancelled: what it waits for may never come."""
    working, asked = asyncio.create_task(work), asyncio.create_task(stopping.wait())
    await asyncio.wait({working, asked}, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if working.done():
        working.result()
        return True
    await call_off(working)
    return False


async def _start(
    place: Layout, options: argparse.Namespace, parts: contextlib.AsyncExitStack
) -> None:
    """Start every part; `parts` stops them in reverse."""
    import_aiohttp()
    loaded = asyncio.create_task(asyncio.to_thread(import_parts), name="imports")
    runtime = await parts.enter_async_context(open_runtime(place))
    await loaded  # it went on while the shim came up
    from minipod.client import Client
    from minipod.daemon.controllers import make_controllers, make_network_controllers
    from minipod.server.app import ApiServer, ServerOptions

    store = await _open_store(place, options)
    parts.push_async_callback(store.close)
    state = _Readiness()
    cidr, services = _reserve_ranges(place, options, store, parts)
    signer, credentials = make_credentials(place, options)
    serving = make_serving(place, options, cidr, services)
    server = ApiServer(
        store,
        place,
        ServerOptions(
            unready=state.why_not,
            serving=serving,
            service_cidr=services,
            credentials=credentials,
        ),
    )
    server.keep_audit_log(audit_options(place, options))
    await server.start()
    parts.push_async_callback(server.stop)
    client = Client(server.transport)
    port = serving.port if serving else 0
    addresses = first_address(services), first_address(cidr), port
    for controller in (
        *make_controllers(place, client, signer),
        *make_network_controllers(client, addresses),
    ):
        await controller.start()
        parts.push_async_callback(controller.stop)
    name = node_name(options.node_name)
    agent = client.acting_as(f"system:node:{name}", "system:nodes", user_agent="kubelet")
    network = await make_network(place, cidr, runtime)
    proxy = client.acting_as("system:kube-proxy", user_agent="kube-proxy")
    resolvers = await serve_services(place, proxy, runtime, network, parts)
    kubelet = await make_kubelet(place, options, agent, runtime, network, resolvers)
    await kubelet.start()
    parts.push_async_callback(kubelet.stop)
    state.ready = True


async def _open_store(place: Layout, options: argparse.Namespace) -> "Store":
    """Open the store, and say what in it cannot be read."""
    from minipod.server.encryption import report_unreadable, seal_of
    from minipod.server.wire import find_damage
    from minipod.store import Damaged, Store

    store = await Store.open(
        place.database, seal=seal_of(options.encryption_provider_config), find_damage=find_damage
    )
    report_unreadable(store.unreadable)
    for key, reason in store.damaged.items():
        logger.error("%s", Damaged(key, reason))
    return store


def _reserve_ranges(
    place: Layout, options: argparse.Namespace, store: "Store", parts: contextlib.AsyncExitStack
) -> tuple[str, str]:
    """Choose the Pods' range and the Services', and hold both; `parts` lets go of those without a bridge."""
    from minipod.network import bridge
    from minipod.server.service_range import choose_service_range

    parts.callback(bridge.release_ranges, place)
    cidr = bridge.choose_cidr(place, options.pod_cidr or None)
    services = bridge.reserve_services(
        place, partial(choose_service_range, store, place.instance, options.service_cidr, cidr)
    )
    return cidr, services


class _Readiness:
    """What /readyz answers."""

    ready = False

    def why_not(self) -> str:
        return "" if self.ready else "the node agent has not started"


def _settle_memory() -> None:
    """Spare what is here to stay (modules, schemas, caches) from being searched for garbage over and over.

    A search of all there is takes 40 ms, in which no Pod starts; what comes and goes is a small part of it.
    """
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(20_000, 20, 50)


def _tell_ready() -> None:
    descriptor = os.environ.pop("MINIPOD_READY_FD", "")
    if descriptor.isdigit():
        with contextlib.suppress(OSError):  # whoever waited may be gone
            os.write(int(descriptor), b"1")
            os.close(int(descriptor))
    _notify("READY=1")


def _notify(message: str) -> None:
    """Tell systemd (sd_notify(3)) when it started us."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd, contextlib.suppress(OSError):
        systemd.connect("\0" + address[1:] if address.startswith("@") else address)
        systemd.send(message.encode())
