"""Token Secrets and root certificates: filled, kept, and gone with what they belong to."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

from minipod.controllers.account_tokens import NAME_ANNOTATION, TYPE, AccountTokens
from minipod.controllers.root_ca import NAME, RootCertificates
from tests.fakes.api import FakeApi
from tests.fakes.clock import FakeClock

Object = dict[str, Any]


def play(scene: Callable[[FakeApi, FakeClock], Awaitable[None]]) -> None:
    clock = FakeClock()
    asyncio.run(scene(FakeApi(clock), clock))


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


def account(name: str) -> Object:
    return {"kind": "ServiceAccount", "metadata": {"name": name}}


def secret(name: str, of: str) -> Object:
    return {
        "kind": "Secret",
        "type": TYPE,
        "metadata": {"name": name, "annotations": {NAME_ANNOTATION: of}},
    }


def issue(of: Object, into: Object) -> str:
    return f"{of['metadata']['uid']}/{into['metadata']['name']}"


async def started(api: FakeApi, clock: FakeClock) -> AccountTokens:
    made = AccountTokens(api.client(), clock, issue, lambda: b"CA")
    await made.start()
    return made


def value(found: Object, key: str) -> str:
    return base64.b64decode(found["data"][key]).decode()


def test_a_token_secret_gets_its_token_certificate_and_namespace() -> None:
    async def scene(api: FakeApi, clock: FakeClock) -> None:
        client, tokens = api.client(), await started(api, clock)
        robot = await client.create("serviceaccounts", "default", account("robot"))
        await client.create("secrets", "default", secret("t", "robot"))
        await settle()
        found = api.objects["secrets", "default", "t"]
        uid = robot["metadata"]["uid"]
        assert value(found, "token") == f"{uid}/t"
        assert (value(found, "ca.crt"), value(found, "namespace")) == ("CA", "default")
        assert found["metadata"]["annotations"]["kubernetes.io/service-account.uid"] == uid
        version = found["metadata"]["resourceVersion"]
        await settle()
        assert api.objects["secrets", "default", "t"]["metadata"]["resourceVersion"] == version
        await tokens.stop()

    play(scene)


def test_a_token_secret_goes_with_its_account() -> None:
    async def scene(api: FakeApi, clock: FakeClock) -> None:
        client, tokens = api.client(), await started(api, clock)
        await client.create("serviceaccounts", "default", account("robot"))
        await client.create("secrets", "default", secret("t", "robot"))
        await settle()
        await client.delete("serviceaccounts", "default", "robot")
        await settle()
        assert ("secrets", "default", "t") not in api.objects
        await tokens.stop()

    play(scene)


def test_a_secret_may_come_before_its_account_but_not_for_ever() -> None:
    async def scene(api: FakeApi, clock: FakeClock) -> None:
        client, tokens = api.client(), await started(api, clock)
        await client.create("secrets", "default", secret("early", "robot"))
        await client.create("secrets", "default", secret("lost", "nobody"))
        await settle()
        await client.create("serviceaccounts", "default", account("robot"))
        await settle()
        assert value(api.objects["secrets", "default", "early"], "token")
        clock.advance(5)
        await settle()
        assert ("secrets", "default", "lost") not in api.objects
        assert ("secrets", "default", "early") in api.objects
        await tokens.stop()

    play(scene)


def test_every_namespace_has_the_root_certificate_and_keeps_it() -> None:
    async def scene(api: FakeApi, clock: FakeClock) -> None:
        client = api.client()
        await client.create("namespaces", "", {"kind": "Namespace", "metadata": {"name": "one"}})
        publisher = RootCertificates(client, clock, lambda: b"CA")
        await publisher.start()
        await client.create("namespaces", "", {"kind": "Namespace", "metadata": {"name": "two"}})
        await settle()
        for namespace in ("one", "two"):
            assert api.objects["configmaps", namespace, NAME]["data"] == {"ca.crt": "CA"}
        await client.delete("configmaps", "one", NAME)
        changed = {**api.objects["configmaps", "two", NAME], "data": {"ca.crt": "other"}}
        await client.update("configmaps", "two", changed)
        await settle()
        for namespace in ("one", "two"):
            assert api.objects["configmaps", namespace, NAME]["data"] == {"ca.crt": "CA"}
        await publisher.stop()

    play(scene)
