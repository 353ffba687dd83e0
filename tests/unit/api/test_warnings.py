"""Every field of a Pod is acted upon, or told of.

A field that a newer schema brings fails here until someone decides.
"""

import pytest

from minipod.api import warnings
from minipod.api.definitions import definitions, referenced
from minipod.api.pod_warnings import compute_warnings
from tests.unit.api.objects import POD, container, defaulted

CORE = "io.k8s.api.core.v1."
META = "io.k8s.apimachinery.pkg.apis.meta.v1."

# What this version acts upon, by definition. A field that is acted upon for some values only has a rule as well.
# Trivially so: os (linux only), priority (0, or of a system class).
WORKS = {
    "Affinity": "nodeAffinity podAffinity podAntiAffinity",
    "AppArmorProfile": "type localhostProfile",  # the node refuses the Pod
    "Capabilities": "add drop",
    "ConfigMapEnvSource": "name optional",
    "ConfigMapKeySelector": "key name optional",
    "ConfigMapProjection": "items name optional",
    "ConfigMapVolumeSource": "defaultMode items name optional",
    "Container": """
        args command env envFrom image imagePullPolicy lifecycle livenessProbe name ports readinessProbe resizePolicy
        resources restartPolicy restartPolicyRules securityContext startupProbe stdin stdinOnce terminationMessagePath
        terminationMessagePolicy tty volumeMounts workingDir
    """,
    "ContainerPort": "containerPort hostIP hostPort name protocol",
    "ContainerRestartRule": "action exitCodes",
    "ContainerRestartRuleOnExitCodes": "operator values",
    "DownwardAPIProjection": "items",
    "DownwardAPIVolumeFile": "fieldRef mode path resourceFieldRef",
    "DownwardAPIVolumeSource": "defaultMode items",
    "EmptyDirVolumeSource": "medium sizeLimit",
    "EnvFromSource": "configMapRef prefix secretRef",
    "EnvVar": "name value valueFrom",
    "FileKeySelector": "key optional path volumeName",
    "EnvVarSource": "configMapKeyRef fieldRef fileKeyRef resourceFieldRef secretKeyRef",
    "ExecAction": "command",
    "GRPCAction": "port service",
    "HTTPGetAction": "host httpHeaders path port scheme",
    "HTTPHeader": "name value",
    "HostAlias": "hostnames ip",
    "HostPathVolumeSource": "path type",
    "KeyToPath": "key mode path",
    "Lifecycle": "postStart preStop stopSignal",
    "LifecycleHandler": "exec httpGet sleep",
    "LocalObjectReference": "name",
    "NodeAffinity": "preferredDuringSchedulingIgnoredDuringExecution requiredDuringSchedulingIgnoredDuringExecution",
    "NodeSelector": "nodeSelectorTerms",
    "NodeSelectorRequirement": "key operator values",
    "NodeSelectorTerm": "matchExpressions matchFields",
    "ObjectFieldSelector": "apiVersion fieldPath",
    "PodAffinity": "preferredDuringSchedulingIgnoredDuringExecution requiredDuringSchedulingIgnoredDuringExecution",
    "PodAffinityTerm": "labelSelector matchLabelKeys mismatchLabelKeys namespaceSelector namespaces topologyKey",
    "PodAntiAffinity": "preferredDuringSchedulingIgnoredDuringExecution requiredDuringSchedulingIgnoredDuringExecution",
    "PodDNSConfig": "nameservers options searches",
    "PodDNSConfigOption": "name value",
    "PodOS": "name",
    "PodReadinessGate": "conditionType",
    "PodSchedulingGate": "name",
    "PodSecurityContext": """
        appArmorProfile fsGroup fsGroupChangePolicy runAsGroup runAsNonRoot runAsUser seccompProfile supplementalGroups
        supplementalGroupsPolicy sysctls
    """,
    "EphemeralContainer": """
        args command env envFrom image imagePullPolicy lifecycle livenessProbe name ports readinessProbe
        resizePolicy resources restartPolicy restartPolicyRules securityContext startupProbe stdin stdinOnce
        targetContainerName
        terminationMessagePath terminationMessagePolicy tty volumeMounts workingDir
    """,
    "PodSpec": """
        activeDeadlineSeconds affinity automountServiceAccountToken containers dnsConfig dnsPolicy enableServiceLinks
        ephemeralContainers
        hostAliases hostIPC hostNetwork hostPID hostUsers hostname hostnameOverride initContainers nodeName
        imagePullSecrets nodeSelector os overhead preemptionPolicy priority readinessGates resources restartPolicy
        schedulerName schedulingGates
        securityContext serviceAccount serviceAccountName setHostnameAsFQDN shareProcessNamespace subdomain
        terminationGracePeriodSeconds tolerations topologySpreadConstraints volumes
    """,
    "Probe": """
        exec failureThreshold grpc httpGet initialDelaySeconds periodSeconds successThreshold tcpSocket
        terminationGracePeriodSeconds timeoutSeconds
    """,
    "ProjectedVolumeSource": "defaultMode sources",
    "ContainerResizePolicy": "resourceName restartPolicy",
    "ResourceFieldSelector": "containerName divisor resource",
    "ResourceRequirements": "limits requests",
    "SeccompProfile": "localhostProfile type",
    "SecretEnvSource": "name optional",
    "SecretKeySelector": "key name optional",
    "SecretProjection": "items name optional",
    "SecretVolumeSource": "defaultMode items optional secretName",
    "SecurityContext": """
        appArmorProfile
        allowPrivilegeEscalation capabilities privileged procMount readOnlyRootFilesystem runAsGroup runAsNonRoot
        runAsUser seccompProfile
    """,
    "SleepAction": "seconds",
    "Sysctl": "name value",
    "TCPSocketAction": "host port",
    "Toleration": "effect key operator tolerationSeconds value",
    "TopologySpreadConstraint": """
        labelSelector matchLabelKeys maxSkew minDomains nodeAffinityPolicy nodeTaintsPolicy topologyKey
        whenUnsatisfiable
    """,
    "PreferredSchedulingTerm": "preference weight",
    "WeightedPodAffinityTerm": "podAffinityTerm weight",
    f"{META}LabelSelector": "matchExpressions matchLabels",
    f"{META}LabelSelectorRequirement": "key operator values",
    "Volume": "configMap downwardAPI emptyDir hostPath image name projected secret",
    "ImageVolumeSource": "pullPolicy reference",
    "VolumeMount": "mountPath mountPropagation name readOnly recursiveReadOnly subPath subPathExpr",
    "ServiceAccountTokenProjection": "audience expirationSeconds path",
    "ClusterTrustBundleProjection": "labelSelector name optional path signerName",
    "VolumeProjection": "clusterTrustBundle configMap downwardAPI secret serviceAccountToken",
}  # fmt: skip
# managedFields and selfLink are the server's own, never a client's to set.
METADATA = (
    "ownerReferences",
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
)


def told_of():
    """Return the paths whose every use is warned about."""
    return {rule.path for rule in warnings.POD_RULES if rule.applies is warnings._always}


def undecided(definition, path, told, found, used):
    for name, kind_of in definitions()[definition]["properties"].items():
        below = f"{path}.{name}"
        if below in told:
            used.add(below)
            continue
        short = definition.removeprefix(CORE)
        if name not in WORKS.get(short, "").split():
            found.append(below)
            continue
        used.add((short, name))
        child = referenced(kind_of)
        if child and "properties" in definitions()[child]:
            elements = "[]" if isinstance(kind_of, dict) and "list" in kind_of else ""
            undecided(child, below + elements, told, found, used)


def test_every_field_of_a_pods_spec_is_acted_upon_or_told_of():
    found, used = [], set()
    told = told_of()
    undecided(f"{CORE}PodSpec", "spec", told, found, used)
    assert found == [], "decide: acted upon (WORKS) or not (warnings.POD_RULES)"
    stale = {(name, each) for name, fields in WORKS.items() for each in fields.split()} - used
    assert stale == set(), "WORKS names what no longer exists, or is told of"
    assert told - used == set(), "warnings.POD_RULES names what does not exist"


def test_every_field_of_metadata_is_acted_upon():
    names = definitions()["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"]["properties"]
    assert set(names) == set(METADATA)


def test_a_pod_that_only_has_defaults_warns_of_nothing():
    assert warnings.unsupported(POD, defaulted()) == []
    rich = defaulted(
        hostUsers=True,
        automountServiceAccountToken=False,
        volumes=[{"name": "v", "projected": {"sources": [{"secret": {"name": "s"}}]}}],
        containers=[
            container(resources={"limits": {"cpu": "1"}}, lifecycle={"stopSignal": "SIGUSR1"})
        ],
    )
    assert warnings.unsupported(POD, rich) == []


SE_LINUX = {"seLinuxOptions": {"level": "s0"}}


@pytest.mark.parametrize(
    ("spec", "paths"),
    [
        (
            {"containers": [container(), container("b", securityContext=SE_LINUX)]},
            ["spec.containers[1].securityContext.seLinuxOptions"],
        ),
        (
            {"initContainers": [container("i", securityContext=SE_LINUX)]},
            ["spec.initContainers[0].securityContext.seLinuxOptions"],
        ),
        (
            {"containers": [container(lifecycle={"preStop": {"tcpSocket": {"port": 1}}})]},
            ["spec.containers[0].lifecycle.preStop.tcpSocket"],
        ),
        (
            {"containers": [container(securityContext={"seLinuxOptions": {"level": "s0"}})]},
            ["spec.containers[0].securityContext.seLinuxOptions"],
        ),
        (
            {
                "volumes": [
                    {"name": "a", "emptyDir": {}},
                    {"name": "b", "nfs": {"server": "s", "path": "/"}},
                ]
            },
            ["spec.volumes[1].nfs"],
        ),
        (
            {
                "volumes": [
                    {
                        "name": "a",
                        "projected": {"sources": [{}, {"podCertificate": {"keyType": "ED25519"}}]},
                    }
                ]
            },
            ["spec.volumes[0].projected.sources[1].podCertificate"],
        ),
        ({"hostUsers": False}, ["spec.hostUsers"]),
        ({"runtimeClassName": "gvisor"}, ["spec.runtimeClassName"]),
        ({"preemptionPolicy": "Never"}, ["spec.preemptionPolicy"]),
        ({"priorityClassName": "system-node-critical"}, ["spec.priorityClassName"]),
        (
            {"securityContext": {"fsGroupChangePolicy": "OnRootMismatch"}},
            ["spec.securityContext.fsGroupChangePolicy"],
        ),
    ],
)
def test_what_is_not_acted_upon_is_told_by_path(spec, paths):
    found = warnings.unsupported(POD, defaulted(**spec))
    assert [each.partition(": ")[0] for each in found] == paths
    assert all(len(each.partition(": ")[2]) > 10 for each in found)


def test_what_upstream_warns_of():
    made = defaulted(
        containers=[
            container(
                env=[{"name": "A", "value": "1"}, {"name": "B"}, {"name": "A", "value": "2"}],
                ports=[
                    {"containerPort": 80},
                    {"containerPort": 80, "protocol": "UDP"},
                    {"containerPort": 80},
                ],
                resources={"requests": {"memory": "1500m", "cpu": "1500m"}},
            )
        ]
    )
    assert warnings.of_new(POD, made) == [
        'spec.containers[0].resources.requests[memory]: fractional byte value "1500m" is invalid, must be an integer',
        'spec.containers[0].env[2]: hides previous definition of "A", which may be dropped when using apply',
        "spec.containers[0].ports[2]: duplicate port definition with spec.containers[0].ports[0]",
    ]


def test_very_many_oddities_are_told_of_in_part() -> None:
    ports = [{"containerPort": 80, "protocol": "TCP"}] * 600
    items = [{"key": "k", "path": "same"}] * 600
    spec = {
        "containers": [{"name": "c", "image": "i", "ports": ports}],
        "volumes": [{"name": "v", "configMap": {"name": "m", "items": items}}],
    }
    found = compute_warnings({"metadata": {"name": "p"}, "spec": spec})
    assert len(found) == 200
    assert found[-1].startswith("spec.containers[0].ports[")
