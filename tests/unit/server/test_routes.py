"""URLs to resources."""

import pytest

from minipod.server.routes import Target, parse_target


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/pods", Target("", "v1", "pods")),
        ("/api/v1/namespaces", Target("", "v1", "namespaces")),
        ("/api/v1/namespaces/", Target("", "v1", "namespaces")),
        ("/api/v1/namespaces/a", Target("", "v1", "namespaces", "", "a")),
        ("/api/v1/namespaces/a/status", Target("", "v1", "namespaces", "", "a", "status")),
        ("/api/v1/namespaces/a/finalize", Target("", "v1", "namespaces", "", "a", "finalize")),
        ("/api/v1/namespaces/a/pods", Target("", "v1", "pods", "a")),
        ("/api/v1/namespaces/a/pods/x", Target("", "v1", "pods", "a", "x")),
        ("/api/v1/namespaces/a/pods/x%2Dy/log", Target("", "v1", "pods", "a", "x-y", "log")),
        (
            "/apis/apps/v1/namespaces/a/deployments/x",
            Target("apps", "v1", "deployments.apps", "a", "x"),
        ),
        ("/apis/apps/v1/deployments", Target("apps", "v1", "deployments.apps")),
        ("/api/v1/nodes/n/proxy", Target("", "v1", "nodes", "", "n", "proxy", "")),
        ("/api/v1/nodes/n/proxy/", Target("", "v1", "nodes", "", "n", "proxy", "/")),
        (
            "/api/v1/nodes/n/proxy/a%2Fb//c/",
            Target("", "v1", "nodes", "", "n", "proxy", "/a%2Fb//c/"),
        ),
        (
            "/api/v1/namespaces/a/services/https:s:443/proxy/x",
            Target("", "v1", "services", "a", "https:s:443", "proxy", "/x"),
        ),
        ("/api/v1/watch/pods", Target("", "v1", "pods", watch=True)),
        ("/api/v1/watch/namespaces/a", Target("", "v1", "namespaces", "", "a", watch=True)),
        ("/api/v1/watch/namespaces/a/pods", Target("", "v1", "pods", "a", watch=True)),
        (
            "/apis/apps/v1/watch/namespaces/a/deployments/x",
            Target("apps", "v1", "deployments.apps", "a", "x", watch=True),
        ),
        ("/api/v1/watch/namespaces/a/pods/x/log", None),
        ("/api/v1/watch", Target("", "v1", "watch")),
        ("/api/v1", None),
        ("/api", None),
        ("/apis/apps/v1", None),
        ("/api/v1/namespaces//pods", None),
        ("/api/v1/namespaces/a/pods//log", None),
        ("/api/v1/namespaces/a/pods/x/log/more", None),
        ("/api/v1/namespaces/a%2Fb/pods", None),
        ("/version", None),
        ("/", None),
        ("", None),
    ],
)
def test_a_path_names_a_resource(path: str, expected: Target | None) -> None:
    assert parse_target(path) == expected
