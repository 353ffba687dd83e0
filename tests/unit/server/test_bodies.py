"""Bodies from strangers: YAML as Kubernetes reads it, and within bounds."""

import io
import json
from pathlib import Path

import pytest

from minipod.api.errors import StatusError
from minipod.server.bodies import DEPTH_LIMIT, decode_body

from .harness import CONFIG_MAPS, PODS, Api, config_map, pod, serve

YAML = "application/yaml"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 2001-01-01", "2001-01-01"),
        ("a: 8001:8080", "8001:8080"),
        ("a: 22:22", "22:22"),
        ("a: 0644", 420),
        ("a: 1e3", 1000.0),
        ("a: yes", True),
        ("a: 'yes'", "yes"),
        ("a: ~", None),
        ("a:", None),
        ("a: 1.50", 1.5),
        ("a: 1.7.9", "1.7.9"),
        ("a: 0x1f", 31),
        ("a: =", "="),
        ("a: {<<: {b: 1}, c: 2}", {"b": 1, "c": 2}),
    ],
)
def test_yaml_is_read_as_kubernetes_reads_it(text: str, value: object) -> None:
    found = decode_body(text.encode(), YAML).value["a"]
    assert (found, type(found)) == (value, type(value))


def test_yaml_keys_become_text_and_aliases_copies() -> None:
    parsed = decode_body(b"{1: a, true: b, x: &x [1], y: *x}", YAML)
    assert parsed.value == {"1": "a", "true": "b", "x": [1], "y": [1]}
    assert parsed.value["x"] is not parsed.value["y"]


def test_repeated_yaml_keys_are_noticed() -> None:
    assert decode_body(b"a: 1\na: 2", YAML).duplicates == ("a",)
    merged = decode_body(b"{<<: {a: 1, b: 2}, a: 3}", YAML)
    assert (merged.value, merged.duplicates) == ({"a": 3, "b": 2}, ())


BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (n, n, b",".join([b"*%c" % (n - 1)] * 9)) for n in b"bcdefghij"
)


@pytest.mark.parametrize(
    ("data", "media_type", "message"),
    [
        (BOMB, YAML, "nodes"),
        (b"a: &a [*a, *a]", YAML, "contains itself"),
        (b"a: [1", YAML, "error converting YAML to JSON: yaml: "),
        (b"a: 1\n---\nb: 2", YAML, "error converting YAML to JSON: yaml: "),
        (b"a: !!python/object:os.system x", YAML, "error converting YAML to JSON: yaml: "),
        (b"a: !!binary aGk=", YAML, "no place in JSON"),
        (b"{[1]: 2}", YAML, "error converting YAML to JSON: yaml: "),
        (b"a: *nobody", YAML, "error converting YAML to JSON: yaml: "),
        (b"[" * 400 + b"]" * 400, YAML, "deep"),
        (b"\xff\xfe\xfd", YAML, "error converting YAML to JSON: yaml: "),
        (b"[" * 100_000, "application/json", "deep"),
        (b"[" * (DEPTH_LIMIT + 2) + b"]" * (DEPTH_LIMIT + 2), "application/json", "deep"),
        (b'{"a": NaN}', "application/json", "'N' looking for beginning of value"),
        (b'{"a": 1e999}', "application/json", "too large"),
        (b"a: 1e999", YAML, "no place in JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "application/json", "json parse error"),
        (b'{"a": "\xff"}', "application/json", "json parse error"),
        (b"{", "application/json", "json parse error"),
    ],
)
def test_nonsense_is_a_bad_request(data: bytes, media_type: str, message: str) -> None:
    with pytest.raises(StatusError) as refused:
        decode_body(data, media_type)
    assert refused.value.code == 400
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_yaml_body_creates_an_object(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        text = b"kind: ConfigMap\napiVersion: v1\nmetadata: {name: x}\ndata:\n  a: |\n    text\n"
        made = await api("POST", CONFIG_MAPS, data=text, Content_Type=YAML)
        assert made.status == 201
        assert made.body["data"] == {"a": "text\n"}
        read = await api("GET", f"{CONFIG_MAPS}/x", Accept=YAML)
        assert read.headers["Content-Type"] == YAML
        assert b"kind: ConfigMap\n" in read.body

    serve(tmp_path, body)


def test_protobuf_is_read_and_not_written(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        kind = "application/vnd.kubernetes.protobuf"
        meta, obj = b"\x0a\x02v1\x12\x09ConfigMap", b"\x0a\x03\x0a\x01x"
        data = b"k8s\0" + b"\x0a%c" % len(meta) + meta + b"\x12%c" % len(obj) + obj
        made = await api("POST", CONFIG_MAPS, data=data, Content_Type=kind)
        assert (made.status, made.body["metadata"]["name"]) == (201, "x")
        broken = await api("POST", CONFIG_MAPS, data=data[:-1], Content_Type=kind)
        assert (broken.status, broken.body["reason"]) == (400, "BadRequest")
        assert (await api("GET", CONFIG_MAPS, Accept=kind)).status == 406
        assert (await api("GET", CONFIG_MAPS, Accept=f"{kind},application/json")).status == 200

    serve(tmp_path, body)


@pytest.mark.parametrize("media_type", ["application/xml", "text/plain", "application/cbor"])
def test_other_media_types_are_refused(tmp_path: Path, media_type: str) -> None:
    async def body(api: Api) -> None:
        sent = await api("POST", CONFIG_MAPS, data=b"k8s\0", Content_Type=media_type)
        assert (sent.status, sent.body["reason"]) == (415, "UnsupportedMediaType")
        assert "application/json" in sent.body["message"]
        wanted = await api("GET", CONFIG_MAPS, Accept=media_type)
        assert (wanted.status, wanted.body["reason"]) == (406, "NotAcceptable")
        both = await api("GET", CONFIG_MAPS, Accept=f"{media_type},application/json")
        assert both.status == 200

    serve(tmp_path, body)


def test_a_body_that_is_too_large_is_refused_whether_announced_or_not(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        big = json.dumps(config_map("x", a="x" * (3 << 20))).encode()
        async with api.session.post(f"http://api{CONFIG_MAPS}", data=io.BytesIO(big)) as response:
            assert response.status == 413
            assert (await response.json())["reason"] == "RequestEntityTooLarge"

        async def pieces():  # type: ignore[no-untyped-def]
            for start in range(0, len(big), 65536):
                yield big[start : start + 65536]

        async with api.session.post(f"http://api{CONFIG_MAPS}", data=pieces()) as response:
            assert response.status == 413
        assert (await api("GET", CONFIG_MAPS)).status == 200

    serve(tmp_path, body)


def test_half_a_surrogate_pair_does_no_harm(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        text = b'{"metadata":{"name":"x"},"data":{"a":"\\ud83d","b":"\\ud83d\\ude00"}}'
        made = await api("POST", CONFIG_MAPS, data=text)
        assert made.body["data"] == {"a": "\ufffd", "b": "\U0001f600"}
        await api.make(PODS, pod())
        status = {"status": {"message": "no such file: caf\udce9"}}  # a file name's stray byte
        await api.client.patch("pods", "default", "nginx", status, subresource="status")
        read = await api("GET", f"{PODS}/nginx")
        assert read.body["status"]["message"] == "no such file: caf?"

    serve(tmp_path, body)


def test_an_empty_body_is_refused(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        answer = await api("POST", PODS, Content_Type="application/json")
        assert (answer.status, answer.body["message"]) == (
            400,
            "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; "
            "json parse error: unexpected end of JSON input (<empty>)",
        )
        assert (await api("POST", PODS, data=b"[]")).status == 400
        assert (await api("POST", PODS, data=b"null")).status == 400

    serve(tmp_path, body)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "unexpected end of JSON input"),
        ('{"a', "unexpected end of JSON input"),
        ("tru", "unexpected end of JSON input"),
        ("xyz", "invalid character 'x' looking for beginning of value"),
        ("{a: 1}", "invalid character 'a' looking for beginning of object key string"),
        ('{"a" 1}', "invalid character '1' after object key"),
        ('{"a": 1 "b": 2}', "invalid character '\"' after object key:value pair"),
        ('{"a": [1 2]}', "invalid character '2' after array element"),
        ('{"a": ["]}" 2]}', "invalid character '2' after array element"),
        ('{"a": [1], "b": 1]}', "invalid character ']' after object key:value pair"),
        ('{"a": 1,}', "invalid character '}' looking for beginning of object key string"),
        ('{"a": [1,]}', "invalid character ']' looking for beginning of value"),
        ('{"a": [1,  ]}', "invalid character ']' looking for beginning of value"),
        ('{"a": trap}', "invalid character 'a' in literal true (expecting 'u')"),
        ('{"a": -x}', "invalid character 'x' in numeric literal"),
        ('{"a": -Infinity}', "invalid character 'I' in numeric literal"),
        ('{"a": "\n"}', "invalid character '\\n' in string literal"),
        ('{"a": "\\x"}', "invalid character 'x' in string escape code"),
        ('{"a": "\\u12g4"}', "invalid character 'g' in \\u hexadecimal character escape"),
        ("{} {}", "invalid character '{' after top-level value"),
        ("{}'", "invalid character '\\'' after top-level value"),
    ],
)
def test_json_is_complained_of_in_gos_words(text: str, words: str) -> None:
    with pytest.raises(StatusError) as refused:
        decode_body(text.encode(), "application/json")
    assert str(refused.value) == f"couldn't get version/kind; json parse error: {words}"


@pytest.mark.parametrize(
    ("method", "path", "kind", "message"),
    [
        (
            "POST",
            CONFIG_MAPS,
            "application/json",
            "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; "
            "json parse error: invalid character 'k' looking for beginning of value (6b696e643a2078)",
        ),
        (
            "POST",
            f"{CONFIG_MAPS}/x",
            "application/json",
            'create is not supported on resources of kind "configmaps"',
        ),
        (
            "PUT",
            f"{PODS}/x/binding",
            "application/json",
            'update is not supported on resources of kind "pods"',
        ),
        (
            "POST",
            f"{PODS}/x/eviction",
            "application/json",
            "the object provided is unrecognized (must be of type Eviction): couldn't get version/kind; "
            "json parse error: invalid character 'k' looking for beginning of value (6b696e643a2078)",
        ),
        (
            "PATCH",
            f"{CONFIG_MAPS}/x",
            "application/merge-patch+json",
            "error decoding patch: invalid character 'k' looking for beginning of value",
        ),
        (
            "PATCH",
            f"{CONFIG_MAPS}/x",
            "application/strategic-merge-patch+json",
            "invalid character 'k' looking for beginning of value",
        ),
        (
            "DELETE",
            f"{CONFIG_MAPS}/x",
            "application/json",
            "couldn't get version/kind; json parse error: invalid character 'k' looking for beginning of value",
        ),
    ],
)
def test_a_body_that_cannot_be_read_is_told_of_as_the_verb_has_it(
    tmp_path: Path, method: str, path: str, kind: str, message: str
) -> None:
    async def body(api: Api) -> None:
        answer = await api(method, path, data=b"kind: x", Content_Type=kind)
        assert answer.body["message"] == message
        assert answer.status == (405 if "not supported" in message else 400)
        if answer.status == 405:  # whatever was sent, or nothing
            assert (await api(method, path)).body == answer.body

    serve(tmp_path, body)
