"""Every kind's columns (name, `:type` unless a string, `+` from `-o wide` on), and cells with rules of their own."""

from datetime import UTC, datetime

import pytest

from minipod.api import kinds
from minipod.api.columns import table
from minipod.api.kind import Column

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
POD_PARTS = "Containers+, Images+"
COLUMNS = {
    "bindings": "Name, Created At:date",
    "certificatesigningrequests.certificates.k8s.io": (
        "Name, Age, SignerName, Requestor, RequestedDuration, Condition"
    ),
    "clusterrolebindings.rbac.authorization.k8s.io": (
        "Name, Role, Age, Users+, Groups+, ServiceAccounts+"
    ),
    "clusterroles.rbac.authorization.k8s.io": "Name, Created At:date",
    "clustertrustbundles.certificates.k8s.io": "Name, SignerName",
    "componentstatuses": "Name, Status, Message, Error",
    "configmaps": "Name, Data, Age",
    "controllerrevisions.apps": "Name, Controller, Revision, Age",
    "cronjobs.batch": (
        "Name, Schedule, Timezone, Suspend:boolean, Active:integer, Last Schedule, Age, "
        f"{POD_PARTS}, Selector+"
    ),
    "csidrivers.storage.k8s.io": (
        "Name, AttachRequired:boolean, PodInfoOnMount:boolean, StorageCapacity:boolean, "
        "TokenRequests, RequiresRepublish:boolean, Modes, Age"
    ),
    "csinodes.storage.k8s.io": "Name, Drivers:integer, Age",
    "csistoragecapacities.storage.k8s.io": "Name, StorageClassName, Capacity",
    "daemonsets.apps": (
        "Name, Desired:integer, Current:integer, Ready:integer, Up-to-date:integer, "
        f"Available:integer, Node Selector, Age, {POD_PARTS}, Selector+"
    ),
    "deployments.apps": f"Name, Ready, Up-to-date, Available, Age, {POD_PARTS}, Selector+",
    "endpoints": "Name, Endpoints, Age",
    "endpointslices.discovery.k8s.io": "Name, AddressType, Ports, Endpoints, Age",
    "events": (
        "Last Seen, Type, Reason, Object, Subobject+, Source+, Message, First Seen+, Count+, Name+"
    ),
    "events.events.k8s.io": (
        "Last Seen, Type, Reason, Object, Subobject+, Source+, Message, First Seen+, Count+, Name+"
    ),
    "flowschemas.flowcontrol.apiserver.k8s.io": (
        "Name, PriorityLevel, MatchingPrecedence, DistinguisherMethod, Age, MissingPL"
    ),
    "horizontalpodautoscalers.autoscaling": (
        "Name, Reference, Targets, MinPods, MaxPods, Replicas, Age"
    ),
    "ingressclasses.networking.k8s.io": "Name, Controller, Parameters, Age",
    "ingresses.networking.k8s.io": "Name, Class, Hosts, Address, Ports, Age",
    "ipaddresses.networking.k8s.io": "Name, ParentRef",
    "jobs.batch": f"Name, Status, Completions, Duration, Age, {POD_PARTS}, Selector+",
    "leases.coordination.k8s.io": "Name, Holder, Age",
    "limitranges": "Name, Created At:date",
    "namespaces": "Name, Status, Age",
    "networkpolicies.networking.k8s.io": "Name, Pod-Selector, Age",
    "nodes": (
        "Name, Status, Roles, Age, Version, Internal-IP+, External-IP+, OS-Image+, "
        "Kernel-Version+, Container-Runtime+"
    ),
    "nodes.metrics.k8s.io": "Name, cpu, memory, Window",
    "persistentvolumeclaims": (
        "Name, Status, Volume, Capacity, Access Modes, StorageClass, VolumeAttributesClass, Age, "
        "VolumeMode+"
    ),
    "persistentvolumes": (
        "Name, Capacity, Access Modes, Reclaim Policy, Status, Claim, StorageClass, "
        "VolumeAttributesClass, Reason, Age, VolumeMode+"
    ),
    "poddisruptionbudgets.policy": (
        "Name, Min Available, Max Unavailable, Allowed Disruptions:integer, Age"
    ),
    "podpresets.settings.k8s.io": "Name, Created At:date",
    "pods": ("Name, Ready, Status, Restarts, Age, IP+, Node+, Nominated Node+, Readiness Gates+"),
    "pods.metrics.k8s.io": "Name, cpu, memory, Window",
    "podtemplates": "Name, Containers, Images, Pod Labels",
    "priorityclasses.scheduling.k8s.io": (
        "Name, Value:integer, Global-Default:boolean, Age, PreemptionPolicy"
    ),
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io": (
        "Name, Type, NominalConcurrencyShares, Queues, HandSize, QueueLengthLimit, Age"
    ),
    "replicasets.apps": (
        f"Name, Desired:integer, Current:integer, Ready:integer, Age, {POD_PARTS}, Selector+"
    ),
    "replicationcontrollers": (
        f"Name, Desired:integer, Current:integer, Ready:integer, Age, {POD_PARTS}, Selector+"
    ),
    "resourcequotas": "Name, Request, Limit, Age",
    "rolebindings.rbac.authorization.k8s.io": (
        "Name, Role, Age, Users+, Groups+, ServiceAccounts+"
    ),
    "roles.rbac.authorization.k8s.io": "Name, Created At:date",
    "runtimeclasses.node.k8s.io": "Name, Handler, Age",
    "secrets": "Name, Type, Data, Age",
    "serviceaccounts": "Name, Age",
    "servicecidrs.networking.k8s.io": "Name, CIDRs, Age",
    "services": "Name, Type, Cluster-IP, External-IP, Port(s), Age, Selector+",
    "statefulsets.apps": f"Name, Ready, Age, {POD_PARTS}",
    "storageclasses.storage.k8s.io": (
        "Name, Provisioner, ReclaimPolicy, VolumeBindingMode, AllowVolumeExpansion, Age"
    ),
    "volumeattachments.storage.k8s.io": "Name, Attacher, PV, Node, Attached:boolean, Age",
    "volumeattributesclasses.storage.k8s.io": "Name, DriverName, Age",
}
_FORMATTED = {"Name", "Attacher"}


def _text(column: Column) -> str:
    named = column.name if column.type == "string" else f"{column.name}:{column.type}"
    return f"{named}+" if column.priority else named


def test_every_kinds_columns_are_upstreams():
    found = {}
    for kind in kinds.all_kinds():
        columns = kind.hooks.columns
        if not columns and kind.verbs == ("create",) and kind.resource != "bindings":
            continue  # what is asked and answered, never listed
        defined = table(kind, [], True, NOW)["columnDefinitions"]
        columns = tuple(Column(**each) for each in defined)
        found[kind.resource] = ", ".join(map(_text, columns))
        formatted = {each.name for each in columns if each.format == "name"}
        assert formatted <= _FORMATTED
        assert all(each.priority in (0, 1) and each.description for each in columns)
    assert found == COLUMNS


def cells(resource, **fields):
    """Return the cells of an object's row, by the columns' names."""
    group = resource.partition(".")[2]
    kind = next(each for each in kinds.all_kinds() if each.resource == resource)
    made = {"apiVersion": group, "kind": kind.kind, "metadata": {"name": "a"}, **fields}
    whole = table(kind, [made], True, NOW)
    names = [each["name"] for each in whole["columnDefinitions"]]
    return dict(zip(names, whole["rows"][0]["cells"], strict=True))


def subset(*addresses, ports=()):
    return {
        "addresses": [{"ip": each} for each in addresses],
        "ports": [{"port": each} for each in ports],
    }


@pytest.mark.parametrize(
    ("subsets", "text"),
    [
        ([], "<none>"),
        # None that is ready is not the same as none at all.
        ([{"notReadyAddresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}], ""),
        (
            [subset("10.0.0.1", "10.0.0.2", ports=(80, 443))],
            "10.0.0.1:80,10.0.0.2:80,10.0.0.1:443 + 1 more...",
        ),
        ([subset("10.0.0.1", "fd00::1")], "10.0.0.1,fd00::1"),
        ([subset("fd00::1", ports=(80,))], "[fd00::1]:80"),
    ],
)
def test_endpoints_port_by_port(subsets, text):
    assert cells("endpoints", subsets=subsets)["Endpoints"] == text


def balancer(*points):
    return {"loadBalancer": {"ingress": list(points)}}


def test_addresses_of_load_balancers_are_sorted_and_given_once():
    points = ({"ip": "10.0.0.9"}, {"hostname": "b.example"}, {"ip": "10.0.0.1"}, {"ip": "10.0.0.9"})
    service = {"type": "LoadBalancer", "externalIPs": ["10.0.0.9"]}
    shown = cells("services", spec=service, status=balancer(*points))
    assert shown["External-IP"] == "10.0.0.1,10.0.0.9,b.example,10.0.0.9"
    ingress = cells("ingresses.networking.k8s.io", spec={}, status=balancer(*points))
    assert ingress["Address"] == "10.0.0.1,10.0.0.9,b.example"
    nothing = cells("services", spec={"type": "LoadBalancer"}, status={"loadBalancer": {}})
    assert nothing["External-IP"] == "<pending>"


def test_hosts_of_an_ingress_count_its_rules():
    rules = [{"host": "a"}, {"host": "b"}, {"host": "c"}, {}]
    assert (
        cells("ingresses.networking.k8s.io", spec={"rules": rules})["Hosts"] == "a,b,c + 1 more..."
    )
    assert cells("ingresses.networking.k8s.io", spec={"rules": rules[:3]})["Hosts"] == "a,b,c"


def test_a_bound_claim_without_a_capacity_has_none():
    shown = cells("persistentvolumeclaims", spec={"volumeName": "pv"}, status={"phase": "Bound"})
    assert (shown["Volume"], shown["Capacity"]) == ("pv", "0")


def test_whose_an_address_is():
    parent = {"resource": "services", "namespace": "default", "name": "kubernetes"}
    resource = "ipaddresses.networking.k8s.io"
    assert cells(resource, spec={"parentRef": parent})["ParentRef"] == "services/default/kubernetes"
    assert cells(resource, spec={})["ParentRef"] == "<none>"


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        ({"type": "Resource", "resource": {"name": "cpu", "target": {}}}, "cpu: <unknown>/<auto>"),
        ({"type": "Another"}, "<unknown type>"),
    ],
)
def test_targets_of_an_autoscaler(metric, text):
    shown = cells("horizontalpodautoscalers.autoscaling", spec={"metrics": [metric]})
    assert shown["Targets"] == text


def test_the_default_class_of_attributes():
    annotation = "volumeattributesclass.alpha.kubernetes.io/is-default-class"
    metadata = {"name": "gold", "annotations": {annotation: "true"}}
    shown = cells("volumeattributesclasses.storage.k8s.io", metadata=metadata, driverName="d")
    assert shown["Name"] == "gold (default)"
