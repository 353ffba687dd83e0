"""`nft flush ruleset`, as a firewall's restart does it: Pods and Services come through. In the tests' own namespace."""

import subprocess
import urllib.request

from tests.e2e.instance import Instance, wait_until
from tests.e2e.pods import IDLE, container, inside, pod, wait_pod

SERVER = "echo here > /index.html; exec httpd -f -p 8080 -h /"
HOST_PORT = 18081


def fetch(address: str, port: int) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{address}:{port}/index.html", timeout=2) as answer:
            return str(answer.read().decode().strip())
    except OSError:
        return ""


def serve(instance: Instance) -> str:
    """Run a server with a hostPort and a Service; return the Service's address."""
    ports = [{"containerPort": 8080, "hostPort": HOST_PORT}]
    server = pod("server", container("c0", SERVER, ports=ports))
    server["metadata"]["labels"] = {"app": "web"}
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}
    instance.apply(server, service, options=("--until-ready",))
    address: str = instance.get("service", "web")["spec"]["clusterIP"]
    wait_until(lambda: is_served(address), "the server to answer")
    return address


def is_served(address: str) -> bool:
    return fetch("127.0.0.1", HOST_PORT) == fetch(address, 80) == "here"


def flush() -> None:
    subprocess.run(["nft", "flush", "ruleset"], check=True)


def test_a_running_daemon_makes_its_rules_anew(fresh: Instance) -> None:
    address = serve(fresh)
    flush()
    wait_until(lambda: is_served(address), "the server to answer again", 5)
    fresh.apply(pod("late", container("c0", IDLE)), options=("--until-ready",), timeout=30)
    assert inside(fresh, "late", f"wget -qO- http://{address}/index.html") == "here"
    [said] = [each for each in fresh.daemon_log().splitlines() if "were removed by" in each]
    assert "nft flush ruleset" in said
    fresh.run("delete", "pod", "server")
    wait_until(lambda: not fetch("127.0.0.1", HOST_PORT), "the hostPort to be free")


def test_rules_that_were_removed_while_no_daemon_ran_are_there_with_the_next(
    fresh: Instance,
) -> None:
    address = serve(fresh)
    fresh.down(pods=False)
    flush()
    fresh.up()
    wait_until(lambda: is_served(address), "the server to answer again", 5)
    wait_pod(fresh, "server", lambda p: p["status"]["phase"] == "Running", "the same Pod")
