"""The proxy subresources and what is reached through a Service's name, as kubectl and a browser use them."""

import asyncio
import contextlib
import json
import re
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.instance import Instance, wait_until
from tests.e2e.kubectl import Kubectl, find_kubectls, kubeconfig
from tests.e2e.pods import IDLE, container, pod

pytestmark = pytest.mark.skipif(not find_kubectls(), reason="needs kubectl")
CORE = "/api/v1/namespaces/default"
_CGI = """#!/bin/sh
case "$QUERY_STRING" in
*redirect*) printf 'Status: 302 Found\\r\\nLocation: /page.html\\r\\n\\r\\n' ;;
*) printf 'Content-Type: text/plain\\r\\n\\r\\n%s %s %s auth=%s\\n' \\
  "$REQUEST_METHOD" "$PATH_INFO" "$QUERY_STRING" "$HTTP_AUTHORIZATION"; cat ;;
esac
"""
# A server that agrees to any upgrade and then answers in capitals.
_SWITCH = r"""#!/bin/sh
while read -r line && [ "$line" != "$(printf '\r')" ]; do :; done
printf 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n'
while read -r line; do echo "$line" | tr a-z A-Z; done
"""
_SERVER = f"""
mkdir -p /www/cgi-bin
cat >/www/cgi-bin/tell <<'END'
{_CGI}END
cat >/switch <<'END'
{_SWITCH}END
chmod +x /www/cgi-bin/tell /switch
echo '<html><a href="/other">other</a></html>' >/www/page.html
httpd -p 8080 -h /www
nc -ll -p 8081 -e /switch &
{IDLE}
"""


@pytest.fixture(scope="module")
def web(shared: Instance) -> Iterator[Instance]:
    """A Pod behind a Service whose ports have other numbers."""
    ports = [{"containerPort": 8080, "name": "web"}]
    probe = {"tcpSocket": {"port": 8081}, "periodSeconds": 1}
    made = pod("proxied", container("c0", _SERVER, ports=ports, readinessProbe=probe))
    made["metadata"]["labels"] = {"app": "proxied"}
    named = [
        {"name": "http", "port": 80, "targetPort": "web"},
        {"name": "closed", "port": 81, "targetPort": 9},
    ]
    spec = {"selector": {"app": "proxied"}, "ports": named}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "proxied"}, "spec": spec}
    shared.apply(made, service, options=("--until-ready",))
    wait_until(
        lambda: (shared.get("endpoints", "proxied").get("subsets") or [{}])[0].get("addresses"),
        "the Service to have the Pod",
    )
    yield shared
    shared.run("delete", "service", "proxied")
    shared.run("delete", "pod", "proxied", "--now")


@pytest.fixture(scope="module")
def kubectl(web: Instance, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """The newest kubectl, as the administrator."""
    return Kubectl(find_kubectls()[-1], kubeconfig(web, tmp_path_factory.mktemp("proxy")))


@pytest.mark.parametrize(
    "where",
    [
        "pods/proxied",
        "pods/proxied:8080",
        "pods/http:proxied:8080",
        "services/proxied:http",
        "services/proxied:80",
        "services/http:proxied:http",
    ],
)
def test_every_form_of_a_name_leads_to_the_server(kubectl: Kubectl, where: str) -> None:
    path = f"{CORE}/{where}/proxy"
    said = kubectl.out("get", "--raw", f"{path}/cgi-bin/tell/a?x=1")
    assert said == "GET /a x=1 auth=\n"
    page = kubectl.out("get", "--raw", f"{path}/page.html")
    assert page == f'<html><a href="{path}/other">other</a></html>\n'


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("services/proxied:none", 'no endpoints available for service "proxied:none"'),
        ("services/proxied:82", 'no service port 82 found for service "proxied"'),
        ("services/proxied:closed", r"error trying to reach service: dial tcp [\d.]+:9: connect: "),
        ("pods/proxied:9", r"error trying to reach service: dial tcp [\d.]+:9: connect: "),
        ("pods/ftp:proxied:21", 'invalid pod request "ftp:proxied:21"'),
        ("pods/none", 'pods "none" not found'),
    ],
)
def test_what_cannot_be_reached_is_told_of(kubectl: Kubectl, where: str, message: str) -> None:
    assert re.search(message, kubectl.refused("get", "--raw", f"{CORE}/{where}/proxy/"))


def test_the_node_answers_by_its_kubelet(kubectl: Kubectl, web: Instance) -> None:
    node = web.get("nodes")["items"][0]["metadata"]["name"]
    for form in (node, f"{node}:10250", f"https:{node}:10250"):
        assert kubectl.out("get", "--raw", f"/api/v1/nodes/{form}/proxy/healthz") == "ok"


@contextlib.contextmanager
def started(*arguments: str, pattern: str, **more: Any) -> Iterator[str]:
    """Run a command that serves; gives the port, or the socket, that it says it serves on."""
    command = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
    )
    try:
        assert command.stdout
        assert command.stderr
        found = re.search(pattern, command.stdout.readline())
        assert found, command.stderr.read()
        yield found[1]
    finally:
        command.kill()
        command.communicate()


def _open(url: str, data: bytes | None = None, method: str | None = None) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return opener.open(urllib.request.Request(url, data, method=method), timeout=10)


def test_kubectl_proxy_brings_a_browser_there(kubectl: Kubectl) -> None:
    arguments = (kubectl.program, f"--kubeconfig={kubectl.config}", "proxy", "--port=0")
    with started(*arguments, pattern=r"127.0.0.1:(\d+)") as port:
        root = f"http://127.0.0.1:{port}{CORE}/services/proxied:http/proxy"
        with _open(f"{root}/cgi-bin/tell?redirect") as answer:  # to /page.html, as a browser goes
            assert answer.url == f"{root}/page.html"
            assert b'href="/api/v1/namespaces/default/services/' in answer.read()
        for method in ("POST", "PUT"):
            with _open(f"{root}/cgi-bin/tell", b"sent", method) as answer:
                assert answer.read() == f"{method}   auth=\nsent".encode()
        with pytest.raises(urllib.error.HTTPError) as refused:
            _open(f"{root}/nothing-there")
        assert refused.value.code == 404  # the server's own, not the API's
        assert b"Status" not in refused.value.read()


def test_kubectl_proxy_serves_a_socket(kubectl: Kubectl, tmp_path: Path) -> None:
    path = tmp_path / "proxy.sock"
    arguments = (kubectl.program, f"--kubeconfig={kubectl.config}", "proxy")
    serving = started(*arguments, f"--unix-socket={path}", pattern=r"Starting to serve on (\S+)")
    with serving as said, socket.socket(socket.AF_UNIX) as peer:
        peer.connect(said)
        peer.sendall(b"GET /api HTTP/1.0\r\nHost: localhost\r\n\r\n")
        answer = b"".join(iter(lambda: peer.recv(4096), b""))
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["versions"] == ["v1"]


def test_an_upgraded_connection_is_relayed(web: Instance) -> None:
    async def talk() -> None:
        reader, writer = await asyncio.open_unix_connection(web.layout.api_socket)
        head = f"GET {CORE}/pods/proxied:8081/proxy/ HTTP/1.1\r\nHost: api\r\n"
        writer.write(f"{head}Connection: Upgrade\r\nUpgrade: echo\r\n\r\n".encode())
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        for word in ("hello", "again"):
            writer.write(f"{word}\n".encode())
            assert await reader.readline() == f"{word.upper()}\n".encode()
        writer.close()

    asyncio.run(asyncio.wait_for(talk(), 20))


def test_a_right_to_the_proxy_is_one_of_its_own(kubectl: Kubectl) -> None:
    kubectl.run("create", "role", "through", "--verb=get", "--resource=services/proxy")
    kubectl.run("create", "rolebinding", "through", "--role=through", "--user=jane")
    path = f"{CORE}/services/proxied:http/proxy/cgi-bin/tell"
    jane = ("--as=jane", "get", "--raw")
    try:
        assert kubectl.out(*jane, path).startswith("GET ")
        refused = kubectl.refused(*jane, path.replace("services", "pods"))
        assert 'cannot get resource "pods/proxy"' in refused
        posted = kubectl.refused("--as=jane", "create", "--raw", path, "-f", "-", text="{}")
        assert 'cannot create resource "services/proxy"' in posted
    finally:
        kubectl.run("delete", "role,rolebinding", "through")


def test_minipod_forwards_a_services_port_and_runs_in_its_pod(web: Instance) -> None:
    command = ("minipod", "port-forward", "svc/proxied", ":http")
    forwarding = started(*command, pattern=r"127.0.0.1:(\d+) -> 8080", env=web.environment)
    with forwarding as port, _open(f"http://127.0.0.1:{port}/page.html") as answer:
        assert answer.read() == b'<html><a href="/other">other</a></html>\n'
    assert web.out("exec", "svc/proxied", "--", "hostname") == "proxied\n"
    refused = web.run("port-forward", "svc/proxied", "99", check=False)
    assert refused.stderr == "error: Service 'proxied' does not have a service port 99\n"
