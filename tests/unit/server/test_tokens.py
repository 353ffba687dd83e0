"""Tokens: asked for, shown, held against the objects they are bound to, and refused when anything is wrong."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import jwt
import pytest

from minipod.server.token_authentication import Credentials, read_static_tokens
from minipod.tokens import BadToken, Bound, Lifetime, TokenSigner, compute_configuration
from tests.fakes.clock import FakeClock

from .harness import PODS, Api, pod, serve

ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
SECRETS = "/api/v1/namespaces/default/secrets"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
Object = dict[str, Any]


class Tokens:
    """A server that signs tokens, and a clock to age them by."""

    def __init__(self, api: Api, signer: TokenSigner, clock: FakeClock) -> None:
        self.api, self.signer, self.clock = api, signer, clock

    async def request(self, account: str = "default", **spec: Any) -> Any:
        return await self.api("POST", f"{ACCOUNTS}/{account}/token", {"spec": spec})

    async def token(self, account: str = "default", **spec: Any) -> str:
        answer = await self.request(account, **spec)
        assert answer.status == 201, answer.body
        return str(answer.body["status"]["token"])

    async def review(self, token: str, **spec: Any) -> Object:
        answer = await self.api("POST", REVIEWS, {"spec": {"token": token, **spec}})
        assert answer.status == 201, answer.body
        return dict(answer.body["status"])


def play(root: Path, body: Callable[[Tokens], Awaitable[None]]) -> None:
    clock = FakeClock()
    signer = TokenSigner(root / "sa.key")

    async def main(api: Api) -> None:
        await body(Tokens(api, signer, clock))

    serve(root, main, credentials=Credentials(signer, {}, clock))


def test_a_requested_token_names_its_account(tmp_path: Path) -> None:
    async def body(t: Tokens) -> None:
        token = await t.token()
        status = await t.review(token)
        assert status["authenticated"] is True
        assert status["user"]["username"] == "system:serviceaccount:default:default"
        assert status["user"]["groups"] == [
            "system:serviceaccounts",
            "system:serviceaccounts:default",
            "system:authenticated",
        ]
        extra = status["user"]["extra"]
        assert extra["authentication.kubernetes.io/credential-id"][0].startswith("JTI=")
        claims = jwt.decode(token, options={"verify_signature": False})
        assert claims["exp"] - claims["iat"] == 3600
        assert claims["aud"] == ["https://kubernetes.default.svc.cluster.local"]

    play(tmp_path, body)


def test_a_token_expires(tmp_path: Path) -> None:
    async def body(t: Tokens) -> None:
        token = await t.token(expirationSeconds=600)
        t.clock.time += 599
        assert (await t.review(token))["authenticated"]
        t.clock.time += 2
        assert await t.review(token) == {"user": {}, "error": "service account token has expired"}

    play(tmp_path, body)


def test_a_token_is_for_its_audiences(tmp_path: Path) -> None:
    async def body(t: Tokens) -> None:
        token = await t.token(audiences=["vault", "other"])
        assert (await t.review(token, audiences=["vault", "x"]))["audiences"] == ["vault"]
        assert "is invalid for the target audiences" in (await t.review(token))["error"]

    play(tmp_path, body)


def test_a_token_ends_with_its_account_and_another_of_that_name_is_another(tmp_path: Path) -> None:
    async def body(t: Tokens) -> None:
        await t.api.make(ACCOUNTS, {"metadata": {"name": "robot"}})
        token = await t.token("robot")
        assert (await t.review(token))["authenticated"]
        await t.api("DELETE", f"{ACCOUNTS}/robot")
        assert (await t.review(token))["error"] == 'serviceaccounts "robot" not found'
        await t.api.make(ACCOUNTS, {"metadata": {"name": "robot"}})
        assert "does not match claim" in (await t.review(token))["error"]

    play(tmp_path, body)


@pytest.mark.parametrize("kind", ["Pod", "Secret"])
def test_a_bound_token_ends_with_what_it_is_bound_to(tmp_path: Path, kind: str) -> None:
    async def body(t: Tokens) -> None:
        if kind == "Pod":
            await t.api.make(PODS, pod("x"))
            path = f"{PODS}/x?gracePeriodSeconds=0"
        else:
            await t.api.make(SECRETS, {"metadata": {"name": "x"}})
            path = f"{SECRETS}/x"
        reference = {"kind": kind, "apiVersion": "v1", "name": "x"}
        token = await t.token(boundObjectRef=reference)
        status = await t.review(token)
        assert status["authenticated"]
        if kind == "Pod":
            assert status["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["x"]
        wrong = await t.request(boundObjectRef={**reference, "uid": "other"})
        assert (wrong.status, wrong.body["reason"]) == (409, "Conflict")
        await t.api("DELETE", path)
        assert "service account token has been invalidated" in (await t.review(token))["error"]
        assert (await t.request(boundObjectRef=reference)).status == 404

    play(tmp_path, body)


def test_a_token_is_not_bound_to_another_accounts_pod(tmp_path: Path) -> None:
    async def body(t: Tokens) -> None:
        await t.api.make(ACCOUNTS, {"metadata": {"name": "robot"}})
        await t.api.make(PODS, pod("x"))
        reference = {"kind": "Pod", "apiVersion": "v1", "name": "x"}
        refused = await t.request("robot", boundObjectRef=reference)
        assert refused.status == 400
        assert "different serviceaccount" in refused.body["message"]
        strange = {"kind": "ConfigMap", "apiVersion": "v1", "name": "x"}
        refused = await t.request(boundObjectRef=strange)
        assert refused.body["message"] == "cannot bind token to object of type /v1, Kind=ConfigMap"

    play(tmp_path, body)


@pytest.mark.parametrize(
    ("seconds", "message"),
    [
        (599, "may not specify a duration less than 10 minutes"),
        (1 << 33, "may not specify a duration larger than 2^32 seconds"),
    ],
)
def test_lifetimes_have_bounds(tmp_path: Path, seconds: int, message: str) -> None:
    async def body(t: Tokens) -> None:
        refused = await t.request(expirationSeconds=seconds)
        assert refused.status == 422
        assert message in refused.body["message"]
        assert (await t.request("nobody")).status == 404

    play(tmp_path, body)


def test_what_a_kubelet_projects_goes_on_for_clients_that_never_read_again(tmp_path: Path) -> None:
    async def body(t: Tokens) -> None:
        await t.api.make(PODS, pod("x"))
        reference = {"kind": "Pod", "apiVersion": "v1", "name": "x"}
        answer = await t.request(expirationSeconds=3607, boundObjectRef=reference)
        claims = jwt.decode(answer.body["status"]["token"], options={"verify_signature": False})
        assert claims["exp"] - claims["iat"] == 365 * 86400
        assert claims["kubernetes.io"]["warnafter"] - claims["iat"] == 3607

    play(tmp_path, body)


def test_tampered_and_foreign_tokens_are_refused(tmp_path: Path) -> None:
    async def body(t: Tokens) -> None:
        token = await t.token()
        head, payload, signature = token.split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
        claims["sub"] = "system:serviceaccount:kube-system:default"
        forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
        none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
        other = TokenSigner(tmp_path / "other.key")
        account = (await t.api("GET", f"{ACCOUNTS}/default")).body
        foreign = other.issue(account, claims["aud"], Lifetime(int(t.clock.time), 600), Bound())
        symmetric = jwt.encode(
            claims, "secret-secret-secret-secret-secret-secret", algorithm="HS256"
        )
        for bad in (
            f"{head}.{forged}.{signature}",
            f"{none}.{payload}.",
            foreign,
            symmetric,
            "a.b.c",
            "nonsense",
        ):
            assert "invalid bearer token" in (await t.review(bad))["error"], bad
        assert (await t.api("POST", REVIEWS, {"spec": {}})).status == 400

    play(tmp_path, body)


def test_a_legacy_token_holds_while_its_secret_holds_it(tmp_path: Path) -> None:
    async def body(t: Tokens) -> None:
        account = (await t.api("GET", f"{ACCOUNTS}/default")).body
        made = await t.api.make(SECRETS, {"metadata": {"name": "old"}})
        token = t.signer.issue_legacy(account, made)
        assert "invalidated" in (await t.review(token))["error"]
        made["data"] = {"token": base64.b64encode(token.encode()).decode()}
        await t.api("PUT", f"{SECRETS}/old", made)
        assert (await t.review(token))["user"]["username"].endswith(":default:default")
        await t.api("DELETE", f"{SECRETS}/old")
        assert "invalidated" in (await t.review(token))["error"]

    play(tmp_path, body)


def test_the_last_use_of_a_legacy_token_is_noted_and_one_marked_invalid_is_refused(
    tmp_path: Path,
) -> None:
    async def body(t: Tokens) -> None:
        account = (await t.api("GET", f"{ACCOUNTS}/default")).body
        made = await t.api.make(SECRETS, {"metadata": {"name": "old"}})
        token = t.signer.issue_legacy(account, made)
        made["data"] = {"token": base64.b64encode(token.encode()).decode()}
        await t.api("PUT", f"{SECRETS}/old", made)

        async def labels_after_use() -> Object:
            assert (await t.review(token))["authenticated"]
            assert (await t.review(token))["authenticated"]
            await asyncio.sleep(0.05)
            found = (await t.api("GET", f"{SECRETS}/old")).body["metadata"]
            versions.append(found["resourceVersion"])
            return dict(found["labels"])

        versions: list[str] = []
        used = "kubernetes.io/legacy-token-last-used"
        assert await labels_after_use() == {used: "2023-11-14"}
        assert await labels_after_use() == {used: "2023-11-14"}
        assert versions[0] == versions[1]
        t.clock.time += 86400
        assert await labels_after_use() == {used: "2023-11-15"}

        invalid = {
            "metadata": {"labels": {"kubernetes.io/legacy-token-invalid-since": "2023-11-15"}}
        }
        await t.api("PATCH", f"{SECRETS}/old", invalid, Content_Type="application/merge-patch+json")
        assert (await t.review(token))["error"] == (
            "the token in secret default/old for service account default/default has been marked invalid. Use tokens "
            "from the TokenRequest API or manually created secret-based tokens, or remove the "
            "'kubernetes.io/legacy-token-invalid-since' label from the secret to temporarily allow use of this token"
        )

    play(tmp_path, body)


def test_others_can_verify_tokens_by_the_published_key(tmp_path: Path) -> None:
    async def body(t: Tokens) -> None:
        token = await t.token(audiences=["vault"])
        found = await t.api("GET", "/openid/v1/jwks")
        assert found.headers["Content-Type"].startswith("application/jwk-set+json")
        keys = jwt.PyJWKSet.from_dict(
            json.loads(found.body) if isinstance(found.body, bytes) else found.body
        )
        key = keys[jwt.get_unverified_header(token)["kid"]]
        timeless = {f"verify_{name}": False for name in ("exp", "nbf", "iat")}
        claims = jwt.decode(
            token, key.key, algorithms=["ES256"], audience="vault", options=timeless
        )
        configuration = (await t.api("GET", "/.well-known/openid-configuration")).body
        assert claims["iss"] == configuration["issuer"]
        assert configuration["jwks_uri"].endswith("/openid/v1/jwks")
        assert compute_configuration("a:1")["jwks_uri"] == "https://a:1/openid/v1/jwks"

    play(tmp_path, body)


def test_a_token_is_never_an_error_of_the_servers(tmp_path: Path) -> None:
    signer = TokenSigner(tmp_path / "sa.key")
    for claims in (
        {},
        {"iss": "5"},
        {"iss": "kubernetes/serviceaccount"},
        {"iss": signer.key_id, "sub": "x"},
    ):
        with pytest.raises(BadToken):
            signer.read(signer._sign(claims))


def test_a_file_of_tokens_is_read_and_its_faults_are_told(tmp_path: Path) -> None:
    file = tmp_path / "tokens.csv"
    file.write_text('abc,jane,7,"dev,ops"\n\ndef,joe,8\n')
    found = read_static_tokens(file)
    assert (found["abc"].user, found["abc"].groups) == (
        "jane",
        ("dev", "ops", "system:authenticated"),
    )
    assert found["def"].uid == "8"
    file.write_text("abc,jane\n")
    with pytest.raises(ValueError, match="line 1: a line is token,user,uid"):
        read_static_tokens(file)
