"""The server as a whole: its socket, who may use it, and strangers' bad manners."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp.http_exceptions import LineTooLong

from minipod.client import Request
from minipod.paths import layout
from minipod.server import http
from minipod.server.app import ApiServer, ServerError, bind, refusal
from minipod.store import Store

from .harness import CONFIG_MAPS, PODS, Api, config_map, pod, serve


def test_the_socket_is_for_its_owner_alone_and_goes_with_the_server(tmp_path: Path) -> None:
    where = layout(tmp_path).api_socket

    async def body(api: Api) -> None:
        assert where.stat().st_mode & 0o777 == 0o600
        assert where.parent.stat().st_mode & 0o777 == 0o700

    serve(tmp_path, body)
    assert not where.exists()


def test_a_dead_servers_socket_is_replaced_and_a_living_ones_is_not(tmp_path: Path) -> None:
    where = layout(tmp_path).api_socket
    where.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(where))

    async def body(api: Api) -> None:
        with pytest.raises(ServerError, match=f'another server answers on "{where}"'):
            bind(where)
        assert (await api("GET", "/healthz")).status == 200

    serve(tmp_path, body)


def test_a_file_in_the_sockets_place_is_reported(tmp_path: Path) -> None:
    where = tmp_path / "api.sock"
    where.mkdir()
    with pytest.raises(ServerError, match="it is no socket"):
        bind(where)


def test_nobody_but_an_administrator_gets_in(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        for path in (PODS, "/api", "/healthz", "/nonsense"):
            answer = await api("GET", path)
            assert (answer.status, answer.body["reason"]) == (401, "Unauthorized")

    serve(tmp_path, body, administrators=frozenset({os.getuid() + 1}))


def test_in_process_callers_have_identities_too(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        request = Request("list", "pods", "default", user="jane", groups=("system:authenticated",))
        with pytest.raises(Exception, match='User "jane" cannot list resource "pods"'):
            await api.server.transport.call(request)

    serve(tmp_path, body)


def test_in_process_callers_share_nothing_with_the_server(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        given = pod()
        made = await api.client.create("pods", "default", given)
        assert given == pod()
        made["spec"].clear()
        again = await api.client.get("pods", "default", "nginx")
        assert again["spec"]["containers"]
        found = await api.client.list("pods")
        assert found.items == [again]
        assert found.resource_version == str(api.store.revision)
        patched = await api.client.patch(
            "pods", "default", "nginx", {"status": {"phase": "Running"}}, subresource="status"
        )
        assert patched["status"]["phase"] == "Running"
        await api.client.delete("pods", "default", "nginx", grace_period_seconds=0)
        with pytest.raises(Exception, match='pods "nginx" not found'):
            await api.client.get("pods", "default", "nginx")

    serve(tmp_path, body)


def test_a_pod_needs_its_service_account(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        refused = await api("POST", PODS, pod(serviceAccountName="robot"))
        assert refused.status == 403
        assert refused.body["message"] == (
            'pods "nginx" is forbidden: error looking up service account default/robot: '
            'serviceaccount "robot" not found'
        )
        await api("DELETE", "/api/v1/namespaces/default/serviceaccounts/default")
        made = await api.make(PODS, pod())  # the default one is made again
        assert made["spec"]["serviceAccountName"] == "default"

    serve(tmp_path, body)


def test_a_pods_priority_and_tolerations_are_resolved(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        made = await api.make(PODS, pod())
        assert made["spec"]["priority"] == 0
        assert len(made["spec"]["tolerations"]) == 2
        everything = [{"operator": "Exists"}]
        critical = pod("critical", priorityClassName="system-node-critical", tolerations=everything)
        made = await api.make(PODS, critical)
        assert made["spec"]["priority"] == 2_000_001_000
        assert made["spec"]["tolerations"] == everything
        refused = await api("POST", PODS, pod("p", priorityClassName="high"))
        assert "no PriorityClass with name high was found" in refused.body["message"]

    serve(tmp_path, body)


def test_a_slow_client_does_not_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "BODY_SECONDS", 0.05)

    async def body(api: Api) -> None:
        async with raw_connection(tmp_path) as (reader, writer):
            head = f"POST {PODS} HTTP/1.1\r\nHost: api\r\nContent-Length: 100\r\n\r\n"
            writer.write(head.encode() + b'{"kind":')
            assert b"504" in await reader.readline()

    serve(tmp_path, body)


def test_a_watcher_that_does_not_read_holds_nobody_up(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        async with raw_connection(tmp_path) as (_, writer):
            writer.write(f"GET {CONFIG_MAPS}?watch=1 HTTP/1.1\r\nHost: api\r\n\r\n".encode())
            await writer.drain()
            big = "x" * 500_000
            await api.make(CONFIG_MAPS, config_map("x"))
            for number in range(20):
                changed = await api.client.update(
                    "configmaps", "default", config_map("x", big=big, n=str(number))
                )
            assert changed["data"]["n"] == "19"

    serve(tmp_path, body)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/namespaces/default/pods/%2e%2e",
        "/api/v1/namespaces/a%2Fb/pods",
        "/api/v1/namespaces/default/pods/a%2Fb",
        "/api/v1/namespaces//pods",
        "//api/v1/pods",
        "/api/v1/pods/%ff",
        "/api/v1/namespaces/default/pods/" + "x" * 5000,
        "/api/v1/pods?labelSelector=" + "%28" * 1000,
        "/api/v1/pods?limit=" + "9" * 5000,
        "/api/v1/pods?watch=maybe",
    ],
)
def test_strange_requests_get_a_status(tmp_path: Path, path: str) -> None:
    async def body(api: Api) -> None:
        async with raw_connection(tmp_path) as (reader, writer):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n".encode())
            answer = await reader.read()
        assert answer.split(b" ")[1] in (b"400", b"404"), answer[:500]
        assert b'"kind":"Status"' in answer
        assert b"Traceback" not in answer

    serve(tmp_path, body)


@pytest.mark.parametrize(
    ("data", "code", "said"),
    [
        (b"GET /%b HTTP/1.1\r\n\r\n", 414, "the request's URL is longer than 65536 bytes"),
        (
            b"GET /api HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n",
            431,
            "a field of the request's header is longer than 65536 bytes",
        ),
    ],
)
def test_what_is_too_long_is_said_to_be(tmp_path: Path, data: bytes, code: int, said: str) -> None:
    async def body(_api: Api) -> None:
        async with raw_connection(tmp_path) as (reader, writer):
            writer.write(data % (b"x" * 100_000))
            head, _, answer = (await reader.read()).partition(b"\r\n\r\n")
        assert int(head.split()[1]) == code
        status = json.loads(answer)
        assert (status["kind"], status["code"], status["message"]) == ("Status", code, said)

    serve(tmp_path, body)


@pytest.mark.parametrize(
    ("line", "code"), [("Status line is too long", 414), ("Header value is too long", 431)]
)
def test_what_is_too_long_is_told_by_older_parsers_in_words(line: str, code: int) -> None:
    assert refusal(400, LineTooLong(line, "65536", "100000"), None).code == code


@pytest.mark.parametrize("path", ["/version", "/healthz", "/apis", "/apis/apps/v1", "/metrics"])
def test_what_can_only_be_read_is_not_changed(tmp_path: Path, path: str) -> None:
    async def body(api: Api) -> None:
        answer = await api("POST", path, {})
        assert (answer.status, answer.body["reason"]) == (405, "MethodNotAllowed")
        assert (await api("POST", f"{path}x", {})).status == 404

    serve(tmp_path, body)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /api HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST /api/v1/namespaces HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"POST /api/v1/namespaces HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_not_http_gets_a_status_too(
    tmp_path: Path, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(api: Api) -> None:
        async with raw_connection(tmp_path) as (reader, writer):
            writer.write(data)
            answer = await reader.read()
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400")), answer[:300]
        assert b'"kind":"Status"' in answer
        assert (await api("GET", "/healthz")).status == 200

    serve(tmp_path, body)
    assert not [record for record in caplog.records if record.exc_info]


def test_a_fault_of_the_servers_own_is_a_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")

    async def body(api: Api) -> None:
        monkeypatch.setattr(http, "negotiate", broken)
        answer = await api("GET", PODS)
        assert (answer.status, answer.body["reason"]) == (500, "InternalError")
        assert answer.body["message"] == "Internal error occurred: ZeroDivisionError: oops"

    serve(tmp_path, body)
    assert "oops" in caplog.text


def test_a_full_disk_is_told_and_forgotten(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        connection = api.store._database._connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()
        answer = await api("POST", CONFIG_MAPS, config_map("x", a="x" * 50_000))
        assert (answer.status, answer.body["reason"]) == (500, "InternalError")
        assert "full" in answer.body["message"]
        connection.execute("PRAGMA max_page_count = 100000").fetchall()
        await api.make(CONFIG_MAPS, config_map("x", a="x" * 50_000))

    serve(tmp_path, body)


def test_a_restarted_server_has_everything(tmp_path: Path) -> None:
    made = {}

    async def first(api: Api) -> None:
        made.update(await api.make(PODS, pod()))

    async def second(api: Api) -> None:
        assert (await api("GET", f"{PODS}/nginx")).body == made
        assert str(api.store.revision) == made["metadata"]["resourceVersion"]

    serve(tmp_path, first)
    serve(tmp_path, second)


def test_stopping_twice_or_before_starting_is_no_error(tmp_path: Path) -> None:
    async def main() -> None:
        where = layout(tmp_path)
        store = await Store.open(where.database)
        server = ApiServer(store, where)
        await server.stop()
        await server.start()
        await server.stop()
        await server.stop()
        await store.close()

    asyncio.run(main())


@asynccontextmanager
async def raw_connection(
    root: Path,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection for what no well-behaved client would send or leave unread."""
    reader, writer = await asyncio.open_unix_connection(layout(root).api_socket, limit=1024)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
