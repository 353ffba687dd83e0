"""One object of every kind that people write themselves, and the row that kubectl prints of it.

A row is compared column by column with what upstream prints; `*` stands for what differs from run to run.
"""

from typing import Any

Object = dict[str, Any]

NAMESPACE = "every-kind"
_LABELS = {"app": "web"}
_POD = {"containers": [{"name": "main", "image": "busybox:1"}]}
_TEMPLATE = {"metadata": {"labels": _LABELS}, "spec": _POD}
_ONCE = {"template": {"spec": {**_POD, "restartPolicy": "Never"}}}
_CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
_TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
_BACKEND = {"service": {"name": "web", "port": {"number": 80}}}


def _object(version: str, kind: str, name: str = "web", **fields: Any) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **fields}


def _selecting(version: str, kind: str, **spec: Any) -> Object:
    whole = {"selector": {"matchLabels": _LABELS}, "template": _TEMPLATE, **spec}
    return _object(version, kind, spec=whole)


# (resource, object, header, row), as `kubectl get RESOURCE web` prints them.
NAMESPACED: tuple[tuple[str, Object, str, str], ...] = (
    (
        "deployments",
        _selecting("apps/v1", "Deployment", replicas=2),
        "NAME READY UP-TO-DATE AVAILABLE AGE",
        "web 0/2 * * *",
    ),
    (
        "replicasets",
        _selecting("apps/v1", "ReplicaSet", replicas=0),
        "NAME DESIRED CURRENT READY AGE",
        "web 0 0 0 *",
    ),
    (
        "statefulsets",
        _selecting("apps/v1", "StatefulSet", serviceName="web", replicas=0),
        "NAME READY AGE",
        "web 0/0 *",
    ),
    (
        "daemonsets",
        _selecting("apps/v1", "DaemonSet"),
        "NAME DESIRED CURRENT READY UP-TO-DATE AVAILABLE NODE SELECTOR AGE",
        "web * * * * * <none> *",
    ),
    (
        "controllerrevisions",
        _object("apps/v1", "ControllerRevision", revision=3, data={"a": "b"}),
        "NAME CONTROLLER REVISION AGE",
        "web <none> 3 *",
    ),
    (
        "replicationcontrollers",
        _object("v1", "ReplicationController", spec={"replicas": 0, "template": _TEMPLATE}),
        "NAME DESIRED CURRENT READY AGE",
        "web 0 0 0 *",
    ),
    (
        "podtemplates",
        _object("v1", "PodTemplate", template=_TEMPLATE),
        "NAME CONTAINERS IMAGES POD LABELS",
        "web main busybox:1 app=web",
    ),
    (
        "jobs",
        _object("batch/v1", "Job", spec={**_ONCE, "suspend": True}),
        "NAME STATUS COMPLETIONS DURATION AGE",
        "web * 0/1 *",
    ),
    (
        "cronjobs",
        _object(
            "batch/v1",
            "CronJob",
            spec={"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": _ONCE}},
        ),
        "NAME SCHEDULE TIMEZONE SUSPEND ACTIVE LAST SCHEDULE AGE",
        "web 0 0 1 1 * <none> True 0 <none> *",
    ),
    (
        "services",
        _object("v1", "Service", spec={"selector": _LABELS, "ports": [{"port": 80}]}),
        "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE",
        "web ClusterIP * <none> 80/TCP *",
    ),
    (
        "endpointslices",
        _object(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            addressType="IPv4",
            ports=[{"port": 80}],
            endpoints=[{"addresses": ["192.0.2.1"]}],
        ),
        "NAME ADDRESSTYPE PORTS ENDPOINTS AGE",
        "web IPv4 80 192.0.2.1 *",
    ),
    (
        "ingresses",
        _object(
            "networking.k8s.io/v1",
            "Ingress",
            spec={"ingressClassName": "web", "defaultBackend": _BACKEND},
        ),
        "NAME CLASS HOSTS ADDRESS PORTS AGE",
        "web web * 80 *",
    ),
    (
        "networkpolicies",
        _object(
            "networking.k8s.io/v1", "NetworkPolicy", spec={"podSelector": {"matchLabels": _LABELS}}
        ),
        "NAME POD-SELECTOR AGE",
        "web app=web *",
    ),
    (
        "limitranges",
        _object(
            "v1", "LimitRange", spec={"limits": [{"type": "Container", "default": {"cpu": "1"}}]}
        ),
        "NAME CREATED AT",
        "web *",
    ),
    (
        "resourcequotas",
        _object("v1", "ResourceQuota", spec={"hard": {"pods": "7"}}),
        "NAME REQUEST LIMIT AGE",
        "web pods: 0/7 *",
    ),
    (
        "poddisruptionbudgets",
        _object(
            "policy/v1",
            "PodDisruptionBudget",
            spec={"minAvailable": 1, "selector": {"matchLabels": {"app": "other"}}},
        ),
        "NAME MIN AVAILABLE MAX UNAVAILABLE ALLOWED DISRUPTIONS AGE",
        "web 1 N/A 0 *",
    ),
    (
        "horizontalpodautoscalers",
        _object(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            spec={"scaleTargetRef": _TARGET, "maxReplicas": 3},
        ),
        "NAME REFERENCE TARGETS MINPODS MAXPODS REPLICAS AGE",
        "web Deployment/web cpu: <unknown>/80% 1 3 * *",
    ),
    (
        "leases",
        _object("coordination.k8s.io/v1", "Lease", spec={"holderIdentity": "me"}),
        "NAME HOLDER AGE",
        "web me *",
    ),
    (
        "persistentvolumeclaims",
        _object("v1", "PersistentVolumeClaim", spec={**_CLAIM, "storageClassName": "none"}),
        "NAME STATUS VOLUME CAPACITY ACCESS MODES STORAGECLASS VOLUMEATTRIBUTESCLASS AGE",
        "web Pending none <unset> *",
    ),
    (
        "csistoragecapacities",
        _object("storage.k8s.io/v1", "CSIStorageCapacity", storageClassName="web", capacity="1Gi"),
        "NAME STORAGECLASSNAME CAPACITY",
        "web web 1Gi",
    ),
)
CLUSTER_WIDE: tuple[tuple[str, Object, str, str], ...] = (
    (
        "persistentvolumes",
        _object(
            "v1",
            "PersistentVolume",
            spec={
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "hostPath": {"path": "/tmp/never-used"},
                "storageClassName": "nobodys",
            },
        ),
        "NAME CAPACITY ACCESS MODES RECLAIM POLICY STATUS CLAIM STORAGECLASS VOLUMEATTRIBUTESCLASS "
        "REASON AGE",
        "web 1Gi RWO Retain * nobodys <unset> *",
    ),
    (
        "storageclasses",
        _object("storage.k8s.io/v1", "StorageClass", provisioner="example.com/none"),
        "NAME PROVISIONER RECLAIMPOLICY VOLUMEBINDINGMODE ALLOWVOLUMEEXPANSION AGE",
        "web example.com/none Delete Immediate false *",
    ),
    (
        "volumeattributesclasses",
        _object(
            "storage.k8s.io/v1",
            "VolumeAttributesClass",
            driverName="example.com",
            parameters={"iops": "1"},
        ),
        "NAME DRIVERNAME AGE",
        "web example.com *",
    ),
    (
        "volumeattachments",
        _object(
            "storage.k8s.io/v1",
            "VolumeAttachment",
            spec={
                "attacher": "example.com",
                "nodeName": "none",
                "source": {"persistentVolumeName": "web"},
            },
        ),
        "NAME ATTACHER PV NODE ATTACHED AGE",
        "web example.com web none false *",
    ),
    (
        "csidrivers",
        _object("storage.k8s.io/v1", "CSIDriver", spec={"attachRequired": False}),
        "NAME ATTACHREQUIRED PODINFOONMOUNT STORAGECAPACITY TOKENREQUESTS REQUIRESREPUBLISH MODES AGE",
        "web false false false <unset> false Persistent *",
    ),
    (
        "csinodes",
        _object("storage.k8s.io/v1", "CSINode", spec={"drivers": []}),
        "NAME DRIVERS AGE",
        "web 0 *",
    ),
    (
        "priorityclasses",
        _object("scheduling.k8s.io/v1", "PriorityClass", value=7),
        "NAME VALUE GLOBAL-DEFAULT AGE PREEMPTIONPOLICY",
        "web 7 false * PreemptLowerPriority",
    ),
    (
        "flowschemas",
        _object(
            "flowcontrol.apiserver.k8s.io/v1",
            "FlowSchema",
            spec={"priorityLevelConfiguration": {"name": "low"}},
        ),
        "NAME PRIORITYLEVEL MATCHINGPRECEDENCE DISTINGUISHERMETHOD AGE MISSINGPL",
        "web low 1000 <none> * ?",
    ),
    (
        "prioritylevelconfigurations",
        _object(
            "flowcontrol.apiserver.k8s.io/v1",
            "PriorityLevelConfiguration",
            spec={
                "type": "Limited",
                "limited": {"limitResponse": {"type": "Queue", "queuing": {}}},
            },
        ),
        "NAME TYPE NOMINALCONCURRENCYSHARES QUEUES HANDSIZE QUEUELENGTHLIMIT AGE",
        "web Limited 30 64 8 50 *",
    ),
    (
        "runtimeclasses",
        _object("node.k8s.io/v1", "RuntimeClass", handler="none"),
        "NAME HANDLER AGE",
        "web none *",
    ),
    (
        "ingressclasses",
        _object("networking.k8s.io/v1", "IngressClass", spec={"controller": "example.com/none"}),
        "NAME CONTROLLER PARAMETERS AGE",
        "web example.com/none <none> *",
    ),
    (
        "ipaddresses",
        {
            **_object("networking.k8s.io/v1", "IPAddress", "203.0.113.7"),
            "spec": {"parentRef": {"resource": "examples", "name": "web"}},
        },
        "NAME PARENTREF",
        "203.0.113.7 examples/web",
    ),
)
