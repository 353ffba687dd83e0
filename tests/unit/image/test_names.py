"""Image references are normalised and refused as distribution/reference has it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipod.image.names import parse_reference

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("nginx", "docker.io/library/nginx:latest", "nginx:latest"),
        ("nginx:1.9.1", "docker.io/library/nginx:1.9.1", "nginx:1.9.1"),
        ("geektime/sample:v2", "docker.io/geektime/sample:v2", "geektime/sample:v2"),
        ("k8s.gcr.io/busybox", "k8s.gcr.io/busybox:latest", "k8s.gcr.io/busybox:latest"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        ("localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x:latest"),
        ("[::1]:5000/a/b:c", "[::1]:5000/a/b:c", "[::1]:5000/a/b:c"),
        ("docker.io/nginx", "docker.io/library/nginx:latest", "nginx:latest"),
        ("index.docker.io/library/nginx", "docker.io/library/nginx:latest", "nginx:latest"),
        (f"nginx@{DIGEST}", f"docker.io/library/nginx@{DIGEST}", f"nginx@{DIGEST}"),
        (f"nginx:1@{DIGEST}", f"docker.io/library/nginx@{DIGEST}", f"nginx@{DIGEST}"),
        ("a__b/c-d.e:T_1.0-x", "docker.io/a__b/c-d.e:T_1.0-x", "a__b/c-d.e:T_1.0-x"),
    ],
)
def test_a_name_has_one_full_form(text: str, full: str, familiar: str) -> None:
    reference = parse_reference(text)
    assert str(reference) == full
    assert reference.familiar == familiar
    assert parse_reference(full) == reference
    assert parse_reference(familiar) == reference


@pytest.mark.parametrize(
    "text",
    ["", ":tag", "nginx:", "Nginx", "a//b", "/a", "a/", "a..b", "-a", "a_", "nginx:-x", "nginx@sha256:12",
     f"nginx@md5:{'a' * 32}", "a b", "a\n", "nginx:" + "t" * 129, "a" * 64, "x" * 300, "../etc", "http://a/b",
     "host:port/x", "ü", "nginx:1:2"],
)  # fmt: skip
def test_an_invalid_name_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(ValueError, match="invalid image reference") as caught:
        parse_reference(text)
    assert f'"{text}"' in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_either_refused_or_stable(text: str) -> None:
    try:
        reference = parse_reference(text)
    except ValueError:
        return
    assert parse_reference(str(reference)) == reference
