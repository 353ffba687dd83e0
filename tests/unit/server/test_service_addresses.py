"""Addresses and node ports of Services, over HTTP."""

import asyncio
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from .harness import Api, serve

SERVICES = "/api/v1/namespaces/default/services"
MERGE = "application/merge-patch+json"


def service(name: str, *ports: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"ports": list(ports) or [{"port": 80}], **spec}}


def test_every_service_has_an_address_of_its_own(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        made = await asyncio.gather(
            *(api("POST", SERVICES, service(f"s{number}")) for number in range(13))
        )
        found = [each.body["spec"]["clusterIP"] for each in made if each.status == 201]
        assert len(found) == len(set(found)) == 13
        assert all(ip_address(each) in ip_network("10.96.5.0/28") for each in found)
        one = made[0].body
        assert one["spec"]["clusterIPs"] == [one["spec"]["clusterIP"]]
        assert (one["spec"]["ipFamilies"], one["spec"]["ipFamilyPolicy"]) == (
            ["IPv4"],
            "SingleStack",
        )
        await api.make(SERVICES, service("last"))
        assert (await api("POST", SERVICES, service("full"))).status == 500
        assert (await api("DELETE", f"{SERVICES}/s0")).status == 200
        again = await api.make(SERVICES, service("again", clusterIP=one["spec"]["clusterIP"]))
        assert again["spec"]["clusterIP"] == one["spec"]["clusterIP"]

    serve(tmp_path, body, service_cidr="10.96.5.0/28")


def test_chosen_addresses_are_checked(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api.make(SERVICES, service("one", clusterIP="10.96.0.10"))
        taken = await api("POST", SERVICES, service("two", clusterIP="10.96.0.10"))
        assert taken.body["message"] == (
            'Service "two" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.10"]: failed to '
            "allocate IP 10.96.0.10: provided IP is already allocated"
        )
        outside = await api("POST", SERVICES, service("two", clusterIP="10.200.0.1"))
        assert (
            "is not in the valid range. The range of valid IPs is 10.96.0.0/16"
            in (outside.body["message"])
        )
        dual = await api("POST", SERVICES, service("two", ipFamilyPolicy="RequireDualStack"))
        assert dual.body["message"] == (
            'Service "two" is invalid: spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this '
            "cluster is not configured for dual-stack services"
        )
        prefer = await api.make(SERVICES, service("prefer", ipFamilyPolicy="PreferDualStack"))
        assert prefer["spec"]["ipFamilies"] == ["IPv4"]
        headless = await api.make(SERVICES, service("headless", clusterIP="None"))
        assert headless["spec"]["clusterIPs"] == ["None"]
        assert headless["spec"]["ipFamilies"] == ["IPv4", "IPv6"]
        name = service("name", type="ExternalName", externalName="example.com")
        assert "clusterIP" not in (await api.make(SERVICES, name))["spec"]

    serve(tmp_path, body)


def test_node_ports_are_allocated_kept_and_dropped(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        ports = ({"port": 53, "name": "t"}, {"port": 53, "name": "u", "protocol": "UDP"})
        made = await api.make(SERVICES, service("dns", *ports, type="NodePort"))
        first, second = (each["nodePort"] for each in made["spec"]["ports"])
        assert first == second
        assert 30000 <= first <= 32767
        taken = await api(
            "POST", SERVICES, service("other", {"port": 1, "nodePort": first}, type="NodePort")
        )
        assert taken.body["message"] == (
            f'Service "other" is invalid: spec.ports[0].nodePort: Invalid value: {first}: provided port '
            "is already allocated"
        )
        low = await api(
            "POST", SERVICES, service("o", {"port": 1, "nodePort": 80}, type="NodePort")
        )
        assert "The range of valid ports is 30000-32767" in low.body["message"]
        bare = service("dns", *ports, type="NodePort")
        replaced = await api("PUT", f"{SERVICES}/dns", bare)
        assert [each["nodePort"] for each in replaced.body["spec"]["ports"]] == [first, second]
        assert replaced.body["spec"]["clusterIP"] == made["spec"]["clusterIP"]
        plain = await api(
            "PATCH", f"{SERVICES}/dns", {"spec": {"type": "ClusterIP"}}, Content_Type=MERGE
        )
        assert all("nodePort" not in each for each in plain.body["spec"]["ports"])
        assert "externalTrafficPolicy" not in plain.body["spec"]
        gone = {"spec": {"type": "ExternalName", "externalName": "example.com"}}
        external = await api("PATCH", f"{SERVICES}/dns", gone, Content_Type=MERGE)
        assert external.status == 200, external.body
        assert "clusterIP" not in external.body["spec"]

    serve(tmp_path, body)


def test_an_address_stays(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        made = await api.make(SERVICES, service("web"))
        other = {"spec": {"clusterIP": "10.96.0.77"}}
        changed = await api("PATCH", f"{SERVICES}/web", other, Content_Type=MERGE)
        assert changed.status == 422
        assert changed.body["message"] == (
            'Service "web" is invalid: spec.clusterIPs[0]: Invalid value: ["10.96.0.77"]: '
            "may not change once set"
        )
        dry = await api.make(f"{SERVICES}?dryRun=All", service("dry", clusterIP="10.96.0.78"))
        assert dry["spec"]["clusterIP"] == "10.96.0.78"
        await api.make(SERVICES, service("real", clusterIP="10.96.0.78"))
        assert (await api("GET", f"{SERVICES}/web")).body == made

    serve(tmp_path, body)


def test_node_ports_follow_the_names_of_their_ports(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        made = await api.make(SERVICES, service("web", {"port": 80, "name": "a"}, type="NodePort"))
        given = made["spec"]["ports"][0]["nodePort"]
        moved = service("web", {"port": 81, "name": "a"}, type="NodePort")
        answer = await api("PUT", f"{SERVICES}/web", moved)
        assert answer.body["spec"]["ports"][0]["nodePort"] == given

    serve(tmp_path, body)


def test_a_port_of_a_health_check_is_reserved(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        local = {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}
        await api.make(SERVICES, service("one", healthCheckNodePort=30100, **local))
        taken = await api("POST", SERVICES, service("two", healthCheckNodePort=30100, **local))
        assert taken.status == 500
        assert taken.body["message"] == (
            "Internal error occurred: failed to allocate requested HealthCheck NodePort 30100: "
            "provided port is already allocated"
        )
        status = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
        told = await api("PATCH", f"{SERVICES}/one/status", status, Content_Type=MERGE)
        assert told.body["status"]["loadBalancer"]["ingress"] == [
            {"ip": "192.0.2.1", "ipMode": "VIP"}
        ]
        plain = {"spec": {"type": "ClusterIP"}}
        changed = await api("PATCH", f"{SERVICES}/one", plain, Content_Type=MERGE)
        assert changed.status == 200, changed.body
        assert changed.body["status"] == {"loadBalancer": {}}
        assert "healthCheckNodePort" not in changed.body["spec"]
        await api.make(SERVICES, service("two", healthCheckNodePort=30100, **local))

    serve(tmp_path, body)
