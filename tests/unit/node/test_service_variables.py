"""What containers are told of Services in their environment."""

from typing import Any

from minipod.client import Object
from minipod.node.service_variables import compute_service_variables
from tests.unit.node.pods import make_pod


def _service(name: str, namespace: str = "default", **spec: Any) -> Object:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


KUBERNETES = _service("kubernetes", clusterIP="10.96.0.1", ports=[{"name": "https", "port": 443}])


def test_a_service_with_two_ports() -> None:
    ports = [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    web = _service("my-web", clusterIP="10.96.0.9", ports=ports)
    assert compute_service_variables(make_pod(), [web]) == {
        "MY_WEB_SERVICE_HOST": "10.96.0.9",
        "MY_WEB_SERVICE_PORT": "80",
        "MY_WEB_SERVICE_PORT_HTTP": "80",
        "MY_WEB_SERVICE_PORT_DNS": "53",
        "MY_WEB_PORT": "tcp://10.96.0.9:80",
        "MY_WEB_PORT_80_TCP": "tcp://10.96.0.9:80",
        "MY_WEB_PORT_80_TCP_PROTO": "tcp",
        "MY_WEB_PORT_80_TCP_PORT": "80",
        "MY_WEB_PORT_80_TCP_ADDR": "10.96.0.9",
        "MY_WEB_PORT_53_UDP": "udp://10.96.0.9:53",
        "MY_WEB_PORT_53_UDP_PROTO": "udp",
        "MY_WEB_PORT_53_UDP_PORT": "53",
        "MY_WEB_PORT_53_UDP_ADDR": "10.96.0.9",
    }


def test_who_is_told_of_whom() -> None:
    near = _service("near", clusterIP="10.96.0.2", ports=[{"port": 1}])
    far = _service("far", "other", clusterIP="10.96.0.3", ports=[{"port": 1}])
    headless = _service("headless", clusterIP="None", ports=[{"port": 1}])
    everything = [KUBERNETES, near, far, headless]
    hosts = _hosts(compute_service_variables(make_pod(), everything))
    assert hosts == {"KUBERNETES_SERVICE_HOST", "NEAR_SERVICE_HOST"}
    quiet = make_pod(enableServiceLinks=False)
    assert _hosts(compute_service_variables(quiet, everything)) == {"KUBERNETES_SERVICE_HOST"}


def _hosts(variables: dict[str, str]) -> set[str]:
    return {name for name in variables if name.endswith("_SERVICE_HOST")}
