"""Tokens for volumes: asked for once, renewed at four fifths of their life, and owned by the one user there is."""

import asyncio
from typing import Any

from minipod.client import Object
from minipod.clock import format_time
from minipod.node.environment import References
from minipod.node.projection import ProjectedFile, compute_payload
from minipod.node.references import find_tokens
from minipod.node.tokens import Tokens
from tests.fakes.api import FakeApi
from tests.fakes.clock import FakeClock
from tests.unit.node.pods import container, make_pod

SOURCE = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}
VOLUME = {"name": "v", "projected": {"sources": [SOURCE], "defaultMode": 0o644}}


class TokenApi(FakeApi):
    """Issues numbered tokens."""

    issued = 0

    def _create(self, request: Any) -> Object:
        if request.subresource != "token":
            return super()._create(request)
        self.issued += 1
        seconds = request.body["spec"]["expirationSeconds"]
        expires = format_time(self.clock.now() + seconds)
        return {"status": {"token": f"t{self.issued}", "expirationTimestamp": expires}}


def test_one_request_until_four_fifths_of_its_life() -> None:
    async def body() -> None:
        clock = FakeClock()
        api = TokenApi(clock)
        tokens, due = Tokens(api.client(), clock), list[str]()
        tokens.on_due = due.append
        pod = make_pod("web", serviceAccountName="robot")
        for _ in range(2):
            assert await tokens.get(pod, ("", 1000)) == "t1"
        assert await tokens.get(pod, ("vault", 1000)) == "t2"
        request = api.requests[0]
        assert (request.resource, request.name) == ("serviceaccounts", "robot")
        spec = request.body["spec"]
        assert spec["audiences"] == []
        assert spec["boundObjectRef"]["uid"] == "uid-web"
        clock.advance(789)
        assert due == []
        clock.advance(12)
        assert due == ["uid-web", "uid-web"]
        assert await tokens.get(pod, ("", 1000)) == "t3"
        tokens.forget("uid-web")
        clock.advance(2000)
        assert len(due) == 2

    asyncio.run(body())


def _payload(pod: Object) -> Object:
    references = References(tokens={("", 3607): "secret"})
    return dict(compute_payload(pod, "projected", VOLUME["projected"], references))


def test_a_token_belongs_to_the_one_user_there_is() -> None:
    pod = make_pod("web", volumes=[VOLUME])
    assert find_tokens(pod) == {("", 3607)}
    assert _payload(pod) == {"token": ProjectedFile(b"secret", 0o644)}
    same = make_pod("web", container(), securityContext={"runAsUser": 1000})
    assert _payload(same) == {"token": ProjectedFile(b"secret", 0o600, 1000)}
    other = container("other", securityContext={"runAsUser": 5})
    mixed = make_pod("web", container(), other, securityContext={"runAsUser": 1000})
    assert _payload(mixed) == {"token": ProjectedFile(b"secret", 0o644)}
    grouped = make_pod("web", securityContext={"fsGroup": 7})
    assert _payload(grouped) == {"token": ProjectedFile(b"secret", 0o600)}
