"""Kinds of the network, of storage and of policies: defaults, what is refused, what is shown."""

from copy import deepcopy
from datetime import UTC, datetime

import pytest

from minipod.api import kinds, validation
from minipod.api.columns import table
from minipod.api.defaults import apply_defaults
from tests.unit.api.objects import texts

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
HTTP = {"port": 80, "protocol": "TCP", "targetPort": 80}


def made(resource, name="x", **fields):
    kind = kinds.by_resource(resource)
    metadata = {"name": name, "uid": "0b7a", "resourceVersion": "1"}
    metadata["creationTimestamp"] = "2026-01-01T11:59:00Z"
    if kind.namespaced:
        metadata["namespace"] = "default"
    metadata |= fields.pop("metadata", {})
    obj = {"metadata": metadata, **deepcopy(fields)}
    apply_defaults(kind, obj)
    kind.hooks.prepare_create(obj)
    return obj


def refused(resource, name="x", **fields):
    kind = kinds.by_resource(resource)
    return texts(validation.validate_create(kind, made(resource, name, **fields)))


def refused_change(resource, before, after):
    kind = kinds.by_resource(resource)
    old, new = made(resource, **before), made(resource, **{**before, **after})
    kind.hooks.prepare_update(new, old)
    return texts(validation.validate_update(kind, new, old))


def cells(resource, obj):
    return table(kinds.by_resource(resource), [obj], True, NOW)["rows"][0]["cells"]


def service(**spec):
    return {"spec": {"ports": [{"port": 80}], **spec}}


@pytest.mark.parametrize(
    ("resource", "fields", "expected"),
    [
        (
            "services",
            service(),
            {
                "type": "ClusterIP",
                "sessionAffinity": "None",
                "internalTrafficPolicy": "Cluster",
                "ports": [HTTP],
            },
        ),
        (
            "services",
            service(type="LoadBalancer", sessionAffinity="ClientIP"),
            {
                "externalTrafficPolicy": "Cluster",
                "allocateLoadBalancerNodePorts": True,
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
            },
        ),
        (
            "networkpolicies.networking.k8s.io",
            {"spec": {"podSelector": {}, "egress": [{"ports": [{"port": 53}]}]}},
            {
                "policyTypes": ["Ingress", "Egress"],
                "egress": [{"ports": [{"port": 53, "protocol": "TCP"}]}],
            },
        ),
        (
            "limitranges",
            {
                "spec": {
                    "limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"}}]
                }
            },
            {
                "limits": [
                    {
                        "type": "Container",
                        "max": {"cpu": "2"},
                        "min": {"memory": "1Mi"},
                        "default": {"cpu": "2"},
                        "defaultRequest": {"cpu": "2", "memory": "1Mi"},
                    }
                ]
            },
        ),
        (
            "persistentvolumes",
            {"spec": {"hostPath": {"path": "/data"}}},
            {
                "persistentVolumeReclaimPolicy": "Retain",
                "volumeMode": "Filesystem",
                "hostPath": {"path": "/data", "type": ""},
            },
        ),
        (
            "csidrivers.storage.k8s.io",
            {"spec": {}},
            {
                "attachRequired": True,
                "podInfoOnMount": False,
                "volumeLifecycleModes": ["Persistent"],
                "fsGroupPolicy": "ReadWriteOnceWithFSType",
            },
        ),
        (
            "horizontalpodautoscalers.autoscaling",
            {
                "spec": {
                    "maxReplicas": 3,
                    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}},
                }
            },
            {
                "minReplicas": 1,
                "metrics": [
                    {
                        "type": "Resource",
                        "resource": {
                            "name": "cpu",
                            "target": {"type": "Utilization", "averageUtilization": 80},
                        },
                    }
                ],
                "behavior": {
                    "scaleDown": {
                        "stabilizationWindowSeconds": 5,
                        "selectPolicy": "Max",
                        "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
                    },
                    "scaleUp": {
                        "stabilizationWindowSeconds": 0,
                        "selectPolicy": "Max",
                        "policies": [
                            {"type": "Pods", "value": 4, "periodSeconds": 15},
                            {"type": "Percent", "value": 100, "periodSeconds": 15},
                        ],
                    },
                },
            },
        ),
    ],
)
def test_defaults(resource, fields, expected):
    spec = made(resource, **fields)["spec"]
    assert {name: spec.get(name) for name in expected} == expected


GI = {"requests": {"storage": "1Gi"}}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": GI}
VOLUME = {
    "capacity": {"storage": "1Gi"},
    "accessModes": ["ReadWriteOnce"],
    "hostPath": {"path": "/d"},
}
SCALED = {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 3}


@pytest.mark.parametrize(
    ("resource", "fields", "expected"),
    [
        ("services", service(clusterIP="10.96.0.9"), []),
        ("services", {"spec": {}}, ["spec.ports: Required value"]),
        ("services", service(clusterIP="None", ports=[]), []),
        (
            "services",
            service(ports=[{"port": 80}, {"port": 0, "name": "b"}]),
            [
                "spec.ports[0].name: Required value",
                "spec.ports[1].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "spec.ports[1].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
            ],
        ),
        (
            "services",
            service(ports=[{"port": 80, "nodePort": 30000}]),
            [
                "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"
            ],
        ),
        (
            "services",
            service(type="ExternalName"),
            ["spec.externalName: Required value"],
        ),
        (
            "services",
            service(type="ExternalName", externalName="example.com.", clusterIP="10.96.0.9"),
            ["spec.clusterIPs: Forbidden: may not be set for ExternalName services"],
        ),
        (
            "services",
            service(clusterIPs=["10.96.0.9", "10.96.0.10"], clusterIP="10.96.0.9"),
            [
                'spec.clusterIPs: Invalid value: ["10.96.0.9","10.96.0.10"]: may specify no more than '
                "one IP for each IP family"
            ],
        ),
        (
            "services",
            service(externalTrafficPolicy="Local"),
            [
                'spec.externalTrafficPolicy: Invalid value: "Local": may only be set for '
                "externally-accessible services"
            ],
        ),
        (
            "services",
            service(type="NodePort", clusterIP="None"),
            [
                'spec.clusterIPs[0]: Invalid value: "None": may not be set to \'None\' for NodePort '
                "services"
            ],
        ),
        (
            "services",
            service(externalIPs=["127.0.0.1"]),
            [
                'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range '
                "(127.0.0.0/8, ::1/128)"
            ],
        ),
        (
            "endpoints",
            {"subsets": [{"ports": [{"port": 80}]}]},
            ["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"],
        ),
        (
            "endpointslices.discovery.k8s.io",
            {"addressType": "IPv4", "endpoints": [{"addresses": ["::1"]}, {"addresses": []}]},
            [
                'endpoints[0].addresses: Invalid value: "::1": must be an IPv4 address',
                'endpoints[0].addresses[0]: Invalid value: "::1": may not be in the loopback range '
                "(127.0.0.0/8, ::1/128)",
                "endpoints[1].addresses: Required value: must contain at least 1 address",
            ],
        ),
        (
            "ingresses.networking.k8s.io",
            {"spec": {}},
            [
                "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"
            ],
        ),
        (
            "ingresses.networking.k8s.io",
            {
                "spec": {
                    "rules": [
                        {
                            "host": "10.0.0.1",
                            "http": {
                                "paths": [
                                    {
                                        "path": "a//b",
                                        "pathType": "Prefix",
                                        "backend": {"service": {"name": "web", "port": {}}},
                                    }
                                ]
                            },
                        }
                    ]
                }
            },
            [
                'spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address',
                'spec.rules[0].http.paths[0].path: Invalid value: "a//b": must be an absolute path',
                "spec.rules[0].http.paths[0].path: Invalid value: \"a//b\": must not contain '//'",
                "spec.rules[0].http.paths[0].backend: Required value: port name or number is required",
            ],
        ),
        (
            "networkpolicies.networking.k8s.io",
            {
                "spec": {
                    "ingress": [
                        {
                            "from": [
                                {},
                                {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}},
                            ]
                        }
                    ]
                }
            },
            [
                "spec.ingress[0].from[0]: Required value: must specify a peer",
                'spec.ingress[0].from[1].ipBlock.except[0]: Invalid value: "11.0.0.0/16": must be a '
                "strict subset of `cidr`",
            ],
        ),
        (
            "ingressclasses.networking.k8s.io",
            {"spec": {"controller": "web"}},
            [
                'spec.controller: Invalid value: "web": must be a domain-prefixed path (such as '
                '"acme.io/foo")'
            ],
        ),
        (
            "limitranges",
            {
                "spec": {
                    "limits": [
                        {"type": "Pod", "default": {"cpu": "1"}},
                        {"type": "Container", "max": {"cpu": "1"}, "min": {"cpu": "2"}},
                        {"type": "PersistentVolumeClaim"},
                    ]
                }
            },
            [
                "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
                'spec.limits[1].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1',
                'spec.limits[1].defaultRequest[cpu]: Invalid value: "1": min value 2 is greater than '
                "default request value 1",
                'spec.limits[1].default[cpu]: Invalid value: "2": min value 2 is greater than default '
                "value 1",
                "spec.limits[2].limits: Required value: either minimum or maximum storage value is "
                "required, but neither was provided",
            ],
        ),
        (
            "resourcequotas",
            {"spec": {"hard": {"pods": "1500m", "shoes": "1"}, "scopes": ["BestEffort"]}},
            [
                'spec.hard[pods]: Invalid value: "1500m": must be an integer',
                'spec.hard[shoes]: Invalid value: "shoes": must be a standard resource type or fully '
                "qualified",
                'spec.hard[shoes]: Invalid value: "shoes": must be a standard resource for quota',
            ],
        ),
        (
            "poddisruptionbudgets.policy",
            {"spec": {"minAvailable": "101%", "maxUnavailable": 1}},
            [
                'spec: Invalid value: {"MinAvailable":"101%","Selector":null,"MaxUnavailable":1,'
                '"UnhealthyPodEvictionPolicy":null}: minAvailable and '
                "maxUnavailable cannot be both set",
                'spec.minAvailable: Invalid value: "101%": must not be greater than 100%',
            ],
        ),
        (
            "priorityclasses.scheduling.k8s.io",
            {"value": 1000000001},
            [
                "value: Forbidden: maximum allowed value of a user defined priority is 1000000000"
            ],
        ),
        (
            "leases.coordination.k8s.io",
            {"spec": {"leaseDurationSeconds": 0}},
            ["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"],
        ),
        (
            "horizontalpodautoscalers.autoscaling",
            {"spec": {"maxReplicas": 0, "metrics": [{"type": "Pods", "resource": {"name": "cpu"}}]}},
            [
                "spec.maxReplicas: Required value: must be set and greater than 0",
                "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`",
                "spec.scaleTargetRef.kind: Required value",
                "spec.scaleTargetRef.name: Required value",
                'spec.scaleTargetRef.apiVersion: Invalid value: "": apiVersion must specify API group',
                "spec.metrics[0].resource.target.type: Required value: must specify a metric target type",
                'spec.metrics[0].resource.target.type: Invalid value: "": must be either Utilization, '
                "Value, or AverageValue",
                "spec.metrics[0].resource.target.averageUtilization: Required value: must set either a "
                "target raw value or a target utilization",
                "spec.metrics[0].pods: Required value: must populate information for the given metric "
                "source",
            ],
        ),
        ("persistentvolumes", {"spec": VOLUME}, []),
        (
            "persistentvolumes",
            {"spec": {"nfs": {"server": "a", "path": "/"}, "hostPath": {"path": "/"}}},
            [
                "spec.accessModes: Required value",
                "spec.capacity: Required value",
                'spec.capacity: Unsupported value: null: supported values: "storage"',
                "spec.nfs: Forbidden: may not specify more than 1 volume type",
            ],
        ),
        ("persistentvolumeclaims", {"spec": CLAIM}, []),
        (
            "persistentvolumeclaims",
            {"spec": {"accessModes": ["ReadWriteOncePod", "ReadOnlyMany"]}},
            [
                "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
                "spec.resources[storage]: Required value",
            ],
        ),
        (
            "storageclasses.storage.k8s.io",
            {"reclaimPolicy": "Recycle"},
            [
                "provisioner: Required value",
                'reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain"',
            ],
        ),
    ],
)  # fmt: skip
def test_what_is_refused(resource, fields, expected):
    assert refused(resource, **fields) == expected


def test_an_address_is_named_in_one_form():
    parent = {"spec": {"parentRef": {"resource": "services", "name": "web"}}}
    resource = "ipaddresses.networking.k8s.io"
    assert refused(resource, "10.96.0.1", **parent) == []
    assert refused(resource, "2001:db8:0::1", **parent) == [
        'metadata.name: Invalid value: "2001:db8:0::1": must be in canonical form ("2001:db8::1")'
    ]


@pytest.mark.parametrize(
    ("resource", "before", "after", "expected"),
    [
        (
            "services",
            service(clusterIP="10.96.0.9"),
            service(clusterIP="10.96.0.8"),
            ['spec.clusterIPs[0]: Invalid value: ["10.96.0.8"]: may not change once set'],
        ),
        ("services", service(clusterIP="10.96.0.9"), service(), []),
        (
            "services",
            service(clusterIP="10.96.0.9"),
            service(type="ExternalName", externalName="example.com", ports=[]),
            [],
        ),
        (
            "ingressclasses.networking.k8s.io",
            {"spec": {"controller": "a.io/x"}},
            {"spec": {"controller": "a.io/y"}},
            ['spec.controller: Invalid value: "a.io/y": field is immutable'],
        ),
        (
            "priorityclasses.scheduling.k8s.io",
            {"value": 1},
            {"value": 2},
            ["value: Forbidden: may not be changed in an update."],
        ),
        (
            "storageclasses.storage.k8s.io",
            {"provisioner": "a.io/x"},
            {"provisioner": "a.io/y"},
            ['provisioner: Invalid value: "a.io/y": field is immutable'],
        ),
        (
            "persistentvolumeclaims",
            {"spec": CLAIM},
            {"spec": {**CLAIM, "accessModes": ["ReadOnlyMany"]}},
            [
                "spec: Forbidden: spec is immutable after creation except resources.requests and "
                "volumeAttributesClassName for bound claims\nchanged: spec.accessModes[0]"
            ],
        ),
        ("persistentvolumeclaims", {"spec": CLAIM}, {"spec": {**CLAIM, "volumeName": "v"}}, []),
        (
            "persistentvolumes",
            {"spec": VOLUME},
            {"spec": {**VOLUME, "hostPath": {"path": "/other"}}},
            [
                "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable "
                "after creation\nchanged: spec.hostPath.path"
            ],
        ),
        (
            "resourcequotas",
            {"spec": {"hard": {"pods": "1"}, "scopes": ["Terminating"]}},
            {"spec": {"hard": {"pods": "2"}, "scopes": ["NotTerminating"]}},
            ['spec.scopes: Invalid value: ["NotTerminating"]: field is immutable'],
        ),
    ],
)
def test_what_may_change(resource, before, after, expected):
    assert refused_change(resource, before, after) == expected


@pytest.mark.parametrize(
    ("resource", "fields", "expected"),
    [
        (
            "services",
            service(
                type="NodePort",
                clusterIP="10.96.0.9",
                ports=[{"port": 80, "nodePort": 30080}],
                selector={"b": "2", "a": "1"},
            ),
            ["x", "NodePort", "10.96.0.9", "<none>", "80:30080/TCP", "60s", "a=1,b=2"],
        ),
        (
            "services",
            service(type="ExternalName", externalName="example.com", ports=[]),
            ["x", "ExternalName", "<none>", "example.com", "<none>", "60s", "<none>"],
        ),
        ("services", service(type="LoadBalancer"), ["x", "LoadBalancer", "<none>", "<pending>"]),
        (
            "endpoints",
            {
                "subsets": [
                    {"addresses": [{"ip": f"10.0.0.{n}"} for n in range(1, 6)], "ports": [{"port": 80}]}
                ]
            },
            ["x", "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more...", "60s"],
        ),
        (
            "endpointslices.discovery.k8s.io",
            {"addressType": "IPv4", "ports": [{"port": 80}], "endpoints": []},
            ["x", "IPv4", "80", "<unset>", "60s"],
        ),
        (
            "ingresses.networking.k8s.io",
            {"spec": {"ingressClassName": "web", "rules": [{"host": "a.b"}], "tls": [{}]}},
            ["x", "web", "a.b", "", "80, 443", "60s"],
        ),
        (
            "resourcequotas",
            {
                "status": {
                    "hard": {"limits.cpu": "2", "pods": "3", "count/jobs.batch": "1"},
                    "used": {"pods": "1"},
                }
            },
            ["x", "count/jobs.batch: 0/1, pods: 1/3", "limits.cpu: 0/2", "60s"],
        ),
        ("limitranges", {"spec": {"limits": []}}, ["x", "2026-01-01T11:59:00Z"]),
        (
            "poddisruptionbudgets.policy",
            {"spec": {"minAvailable": "50%"}},
            ["x", "50%", "N/A", 0, "60s"],
        ),
        (
            "priorityclasses.scheduling.k8s.io",
            {"value": 5},
            ["x", 5, False, "60s", "PreemptLowerPriority"],
        ),
        (
            "horizontalpodautoscalers.autoscaling",
            {"spec": SCALED},
            ["x", "Deployment/web", "cpu: <unknown>/80%", "1", 3, 0, "60s"],
        ),
        (
            "persistentvolumes",
            {"spec": {**VOLUME, "claimRef": {"namespace": "a", "name": "b"}, "storageClassName": "s"}},
            ["x", "1Gi", "RWO", "Retain", "Pending", "a/b", "s", "<unset>", "", "60s", "Filesystem"],
        ),
        (
            "persistentvolumeclaims",
            {"spec": CLAIM},
            ["x", "Pending", "", "", "", "", "<unset>", "60s", "Filesystem"],
        ),
        (
            "storageclasses.storage.k8s.io",
            {
                "provisioner": "a.io/x",
                "metadata": {
                    "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}
                },
            },
            ["x (default)", "a.io/x", "Delete", "Immediate", False, "60s"],
        ),
        (
            "csidrivers.storage.k8s.io",
            {"spec": {}},
            ["x", True, False, False, "<unset>", False, "Persistent", "60s"],
        ),
    ],
)  # fmt: skip
def test_rows(resource, fields, expected):
    assert cells(resource, made(resource, **fields))[: len(expected)] == expected


def test_every_kind_names_its_definition_and_has_columns_for_it():
    for kind in kinds.all_kinds():
        assert kind.schema_name.endswith(f".{kind.kind}"), kind
        assert kind.scale is None or kind.subresource("scale"), kind
        if kind.hooks.cells is not None:
            assert len(kind.hooks.columns) > 1, kind


@pytest.mark.parametrize(
    ("cidr", "why"),
    [
        ("10.1.0.5/24", "must not have bits set beyond the prefix length"),
        ("10.1.0.0/024", "must not have leading 0s in IP or prefix length"),
        ("10.1.0.0/255.255.255.0", "must be a valid CIDR value, (e.g. 10.9.8.0/24"),
        ("10.1.0.0", "must be a valid CIDR value, (e.g. 10.9.8.0/24"),
    ],
)
def test_a_range_of_services_has_one_form(cidr, why):
    [problem] = refused("servicecidrs.networking.k8s.io", spec={"cidrs": [cidr]})
    assert problem.startswith(f'spec.cidrs[0]: Invalid value: "{cidr}": {why}')
