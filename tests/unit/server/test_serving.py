"""HTTPS on loopback: ports, certificates, and who gets in with which credential."""

import asyncio
import json
import socket
import ssl
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from minipod.clock import SystemClock
from minipod.paths import layout
from minipod.pki import Authority, utc
from minipod.server.app import ApiServer, ServerOptions
from minipod.server.identity import Identity
from minipod.server.serving import SecureServing, ServingError, ServingOptions, remembered_port
from minipod.server.token_authentication import Credentials
from minipod.store import Store
from minipod.tokens import TokenSigner
from tests.fakes.clock import FakeClock

from .harness import PODS

Object = dict[str, Any]


class Https:
    """A server that speaks HTTPS on loopback, and requests to it with one credential or another."""

    def __init__(self, serving: SecureServing, clock: FakeClock) -> None:
        self.serving, self.authority, self.clock = serving, serving.authority, clock

    def context(self, user: str = "", *groups: str, **issued: Any) -> ssl.SSLContext:
        """Return what a client of this authority uses, with a certificate of its own when it has a name."""
        context = ssl.create_default_context(cafile=str(self.authority.certificate_path))
        if user:
            load_client(
                context, issued.pop("by", self.authority), user, groups, self.clock, **issued
            )
        return context

    async def get(self, path: str, context: ssl.SSLContext, **headers: str) -> tuple[int, Any]:
        url = f"https://localhost:{self.serving.port}{path}"
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, ssl=context, headers=headers) as answer,
        ):
            raw = await answer.read()
            return answer.status, json.loads(raw) if raw.startswith(b"{") else raw.decode()


def load_client(
    context: ssl.SSLContext, by: Authority, user: str, groups: Any, clock: FakeClock, **issued: Any
) -> None:
    pair = by.issue_client(user, groups, utc(clock.now()), **issued)
    path = by.directory / "test-client.pem"
    path.write_bytes(pair.key + pair.certificate)
    context.load_cert_chain(path)


def serve_https(root: Path, body: Callable[[Https], Awaitable[None]]) -> None:
    async def main() -> None:
        clock = FakeClock(SystemClock().now())  # the client holds certificates against the host's
        where = layout(root)
        store = await Store.open(where.database)
        serving = SecureServing(where, ServingOptions(), clock)
        where.pki.mkdir(parents=True, exist_ok=True)
        static = {"secret-of-joe": Identity("joe", ("dev", "system:authenticated"))}
        credentials = Credentials(TokenSigner(where.pki / "sa.key"), static, clock)
        server = ApiServer(store, where, ServerOptions(serving=serving, credentials=credentials))
        try:
            await server.start()
            await asyncio.wait_for(body(Https(serving, clock)), 30)
        finally:
            await server.stop()
            await store.close()

    asyncio.run(main())


def test_an_administrators_certificate_opens_everything(tmp_path: Path) -> None:
    async def body(api: Https) -> None:
        status, found = await api.get(PODS, api.context("admin", "system:masters"))
        assert (status, found["kind"]) == (200, "PodList")

    serve_https(tmp_path, body)


def test_another_users_certificate_opens_nothing_by_itself(tmp_path: Path) -> None:
    async def body(api: Https) -> None:
        status, found = await api.get(PODS, api.context("jane", "dev"))
        assert (status, found["reason"]) == (403, "Forbidden")
        assert 'User "jane" cannot list resource "pods"' in found["message"]

    serve_https(tmp_path, body)


def test_without_a_credential_only_what_the_world_may_see_is_there(tmp_path: Path) -> None:
    async def body(api: Https) -> None:
        nobody = api.context()
        for path in ("/healthz", "/livez", "/readyz", "/version"):
            assert (await api.get(path, nobody))[0] == 200, path
        for path in (PODS, "/api", "/apis", "/", "/healthz/x", "/nonsense"):
            status, found = await api.get(path, nobody)
            assert (status, found["message"]) == (401, "Unauthorized"), path

    serve_https(tmp_path, body)


def test_a_credential_that_is_good_for_nothing_is_refused_everywhere(tmp_path: Path) -> None:
    async def body(api: Https) -> None:
        for path in ("/version", PODS):
            status, found = await api.get(path, api.context(), Authorization="Bearer nonsense")
            assert (status, found["reason"]) == (401, "Unauthorized"), path

    serve_https(tmp_path, body)


def test_an_expired_certificate_is_refused_also_on_an_open_connection(tmp_path: Path) -> None:
    async def body(api: Https) -> None:
        context = api.context("admin", "system:masters", lifetime=timedelta(hours=1))
        url = f"https://localhost:{api.serving.port}{PODS}"
        async with aiohttp.ClientSession() as session:
            async with session.get(url, ssl=context) as answer:
                assert answer.status == 200
            api.clock.time += 3601
            async with session.get(url, ssl=context) as answer:
                assert answer.status == 401
        assert (await api.get(PODS, context))[0] == 401

    serve_https(tmp_path, body)


def test_another_authoritys_certificate_is_refused(tmp_path: Path) -> None:
    async def body(api: Https) -> None:
        other = Authority(tmp_path / "other")
        other.ensure(utc(api.clock.now()))
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await api.get("/version", api.context("admin", "system:masters", by=other))

    serve_https(tmp_path, body)


def test_a_servers_certificate_does_not_make_a_client(tmp_path: Path) -> None:
    async def body(api: Https) -> None:
        context = api.context()
        context.load_cert_chain(*api.authority.server_paths)
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await api.get("/version", context)

    serve_https(tmp_path, body)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_old_versions_of_tls_are_refused(tmp_path: Path) -> None:
    async def body(api: Https) -> None:
        context = api.context()
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await api.get("/version", context)
        context.maximum_version = context.minimum_version = ssl.TLSVersion.TLSv1_2
        assert (await api.get("/version", context))[0] == 200

    serve_https(tmp_path, body)


def test_the_certificate_is_renewed_while_the_server_runs(tmp_path: Path) -> None:
    def shown(api: Https) -> str:
        return ssl.get_server_certificate(("127.0.0.1", api.serving.port), timeout=5)

    async def body(api: Https) -> None:
        kept = api.authority.server_paths[0]
        before, first = kept.read_bytes(), await asyncio.to_thread(shown, api)
        halves = 0
        while kept.read_bytes() == before:
            api.clock.advance(12 * 3600)  # the timer looks at least twice a day
            halves += 1
            assert halves < 500
        assert halves > 480
        assert await asyncio.to_thread(shown, api) != first

    serve_https(tmp_path, body)


def test_two_roots_have_two_ports_and_keep_them(tmp_path: Path) -> None:
    one = SecureServing(layout(tmp_path / "one"), ServingOptions(), FakeClock())
    other = SecureServing(layout(tmp_path / "other"), ServingOptions(), FakeClock())
    for serving in (one, other):
        serving.prepare()
    bound = [*one.bind(), *other.bind()]
    assert one.port != other.port
    for each in bound:
        each.close()
    again = SecureServing(layout(tmp_path / "one"), ServingOptions(), FakeClock())
    for each in again.bind():
        each.close()
    assert again.port == one.port == remembered_port(layout(tmp_path / "one"))


def test_a_port_that_somebody_else_took_is_left_to_him_unless_it_was_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    serving = SecureServing(layout(tmp_path), ServingOptions(), FakeClock())
    serving.prepare()
    for each in serving.bind():
        each.close()
    first = serving.port
    with socket.create_server(("127.0.0.1", first)):
        for each in serving.bind():
            each.close()
        assert serving.port != first
        assert f"port {first} is taken by another program" in caplog.text
        wanted = SecureServing(layout(tmp_path), ServingOptions(port=first), FakeClock())
        with pytest.raises(
            ServingError, match=f'cannot serve at "127.0.0.1:{first}": Address already'
        ):
            wanted.bind()


def test_an_address_of_nobodys_is_served_once_it_is_there(tmp_path: Path) -> None:
    options = ServingOptions(addresses=("127.0.0.1", "198.51.100.1"))
    serving = SecureServing(layout(tmp_path), options, FakeClock())
    serving.prepare()
    bound = serving.bind()
    assert [each.getsockname()[0] for each in bound] == ["127.0.0.1", "198.51.100.1"]
    for each in bound:
        each.close()


def test_tokens_open_what_their_owner_may_see(tmp_path: Path) -> None:
    async def body(api: Https) -> None:
        nobody = api.context()
        status, found = await api.get(PODS, nobody, Authorization="Bearer secret-of-joe")
        assert (status, found["reason"]) == (403, "Forbidden")
        assert (await api.get("/api", nobody, Authorization="bearer secret-of-joe"))[0] == 200
        for header in ("Bearer secret-of-jo", "Bearer ", "Basic am9lOng="):
            assert (await api.get("/api", nobody, Authorization=header))[0] == 401, header

    serve_https(tmp_path, body)
