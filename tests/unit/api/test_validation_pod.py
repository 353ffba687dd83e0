"""One wrong thing at a time, and the whole of what is said about it."""

import pytest

from minipod.api import validation
from tests.unit.api.objects import POD, container, defaulted, texts

LABEL_TEXT = "a lowercase RFC 1123 label must consist of"


def complaints(**spec):
    return texts(validation.validate_create(POD, defaulted(**spec)))


def of_container(**fields):
    return complaints(containers=[container(**fields)])


def test_a_rich_pod_is_valid():
    assert complaints(
        volumes=[
            {"name": "data", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
            {"name": "host", "hostPath": {"path": "/var/x", "type": "DirectoryOrCreate"}},
            {"name": "conf", "configMap": {"name": "c", "items": [{"key": "a", "path": "d/a", "mode": 256}]}},
            {"name": "pw", "secret": {"secretName": "s"}},
            {"name": "me", "downwardAPI": {"items": [
                {"path": "l", "fieldRef": {"fieldPath": "metadata.labels['app']"}},
                {"path": "c", "resourceFieldRef": {"containerName": "a", "resource": "limits.cpu", "divisor": "1m"}},
            ]}},
            {"name": "all", "projected": {"sources": [{"secret": {"name": "s"}}, {"configMap": {"name": "c"}}]}},
        ],
        initContainers=[
            container("init", command=["a"]),
            container("side", restartPolicy="Always", startupProbe={"tcpSocket": {"port": "web"}}),
        ],
        containers=[
            container(
                "a",
                ports=[{"containerPort": 80, "hostPort": 8001, "name": "http"}],
                env=[
                    {"name": "A", "value": "x"},
                    {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                    {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                    {"name": "M", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
                ],
                envFrom=[{"prefix": "P_", "configMapRef": {"name": "c"}}],
                resources={"limits": {"cpu": "1", "memory": "64Mi", "example.com/gpu": 1}},
                volumeMounts=[{"name": "data", "mountPath": "/data", "subPath": "a/b"}],
                securityContext={"runAsUser": 1, "capabilities": {"add": ["NET_ADMIN"]}},
                lifecycle={"preStop": {"sleep": {"seconds": 3}}},
            )
        ],
        hostAliases=[{"ip": "10.1.2.3", "hostnames": ["a.b"]}],
        dnsConfig={"nameservers": ["1.1.1.1"], "searches": ["_a.b."], "options": [{"name": "ndots", "value": "2"}]},
        securityContext={"sysctls": [{"name": "net.core.somaxconn", "value": "1"}], "fsGroup": 5},
        affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}]}}},
        nodeSelector={"disk": "ssd"},
        tolerations=[{"key": "k", "operator": "Exists", "effect": "NoSchedule"}],
        activeDeadlineSeconds=5,
        hostname="web",
        subdomain="sub",
    ) == []  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"name": ""}, "name: Required value"),
        ({"name": "A"}, f'name: Invalid value: "A": {LABEL_TEXT}'),
        ({"image": ""}, "image: Required value"),
        (
            {"image": " a"},
            'image: Invalid value: " a": must not have leading or trailing whitespace',
        ),
        (
            {"imagePullPolicy": "Sometimes"},
            'imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"',
        ),
        (
            {"terminationMessagePolicy": "X"},
            'terminationMessagePolicy: Unsupported value: "X": supported values: "File", "FallbackToLogsOnError"',
        ),
        ({"env": [{"name": ""}]}, "env[0].name: Required value"),
        (
            {"env": [{"name": "a=b"}]},
            'env[0].name: Invalid value: "a=b": a valid environment variable name must consist only of printable '
            "ASCII characters other than '='",
        ),
        (
            {
                "env": [
                    {
                        "name": "A",
                        "value": "x",
                        "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}},
                    }
                ]
            },
            'env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty',
        ),
        (
            {"env": [{"name": "A", "valueFrom": {}}]},
            'env[0].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, '
            "`configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.image"}}}]},
            'env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.image": error converting fieldPath: field '
            "label not supported: spec.image",
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels"}}}]},
            'env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels": supported values: '
            '"metadata.name", "metadata.namespace", "metadata.uid"',
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}]},
            "env[0].valueFrom.secretKeyRef.key: Required value",
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.gpu"}}}]},
            'env[0].valueFrom.resourceFieldRef.resource: Unsupported value: "limits.gpu": supported values: '
            '"limits.cpu"',
        ),
        (
            {
                "env": [
                    {
                        "name": "A",
                        "valueFrom": {
                            "resourceFieldRef": {"resource": "limits.cpu", "divisor": "2"}
                        },
                    }
                ]
            },
            "only divisor's values 1m and 1 are supported with the cpu resource",
        ),
        (
            {"envFrom": [{}]},
            'envFrom[0]: Invalid value: "": must specify one of: `configMapRef` or `secretRef`',
        ),
        ({"envFrom": [{"secretRef": {}}]}, "envFrom[0].secretRef.name: Required value"),
        ({"ports": [{}]}, "ports[0].containerPort: Required value"),
        (
            {"ports": [{"containerPort": 70000}]},
            "ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            {"ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]},
            'ports[1].name: Duplicate value: "a"',
        ),
        (
            {"ports": [{"containerPort": 1, "protocol": "tcp"}]},
            'ports[0].protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP"',
        ),
        (
            {"ports": [{"containerPort": 1, "hostPort": 5}, {"containerPort": 2, "hostPort": 5}]},
            'ports[1].hostPort: Duplicate value: "TCP//5"',
        ),
        (
            {"volumeMounts": [{"name": "x", "mountPath": "/a"}]},
            'volumeMounts[0].name: Not found: "x"',
        ),
        (
            {"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}},
            'resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
        ),
        (
            {"resources": {"limits": {"memory": "-1"}}},
            'resources.limits[memory]: Invalid value: "-1": must be greater than or equal to 0',
        ),
        (
            {"resources": {"limits": {"gpu": "1"}}},
            'resources.limits[gpu]: Invalid value: "gpu": must be a standard resource type or fully qualified',
        ),
        (
            {"resources": {"limits": {"a.b/gpu": "500m"}}},
            'resources.limits[a.b/gpu]: Invalid value: "500m": must be an integer',
        ),
        (
            {"resources": {"requests": {"a.b/gpu": "1"}}},
            "resources.limits: Required value: Limit must be set for non overcommitable resources",
        ),
        ({"resources": {"claims": [{"name": "x"}]}}, 'resources.claims[0].name: Not found: "x"'),
        (
            {"securityContext": {"runAsUser": -1}},
            "securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
        ),
        (
            {"securityContext": {"privileged": True, "allowPrivilegeEscalation": False}},
            "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
        ),
        (
            {"securityContext": {"seccompProfile": {"type": "Localhost"}}},
            "securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is "
            "Localhost",
        ),
        (
            {"securityContext": {"seccompProfile": {"type": "Magic"}}},
            'securityContext.seccompProfile.type: Unsupported value: "Magic": supported values: "Localhost", '
            '"RuntimeDefault", "Unconfined"',
        ),
        (
            {"securityContext": {"procMount": "Unmasked"}},
            'securityContext.procMount: Invalid value: "Unmasked": `hostUsers` must be false to use `Unmasked`',
        ),
        ({"livenessProbe": {}}, "livenessProbe: Required value: must specify a handler type"),
        (
            {"livenessProbe": {"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}}},
            "livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
        ),
        ({"livenessProbe": {"exec": {}}}, "livenessProbe.exec.command: Required value"),
        (
            {"startupProbe": {"tcpSocket": {"port": 1}, "successThreshold": 2}},
            "startupProbe.successThreshold: Invalid value: 2: must be 1",
        ),
        (
            {"readinessProbe": {"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 3}},
            "readinessProbe.terminationGracePeriodSeconds: Invalid value: 3: must not be set for readinessProbes",
        ),
        (
            {"readinessProbe": {"tcpSocket": {"port": 0}}},
            "readinessProbe.tcpSocket.port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (
            {"readinessProbe": {"httpGet": {"port": 1, "scheme": "FTP"}}},
            'readinessProbe.httpGet.scheme: Unsupported value: "FTP": supported values: "HTTP", "HTTPS"',
        ),
        (
            {"livenessProbe": {"tcpSocket": {"port": 1}, "periodSeconds": -1}},
            "livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            {"lifecycle": {"preStop": {"sleep": {"seconds": 99}}}},
            "lifecycle.preStop.sleep: Invalid value: 99: must be non-negative and less than "
            "terminationGracePeriodSeconds (30)",
        ),
        (
            {"lifecycle": {"stopSignal": "SIGUSR1"}},
            "lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`",
        ),
        (
            {"restartPolicy": "Perhaps"},
            'restartPolicy: Unsupported value: "Perhaps": supported values: "Always", "Never", "OnFailure"',
        ),
        (
            {
                "restartPolicyRules": [
                    {"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}
                ]
            },
            "restartPolicy: Required value: must specify restartPolicy when restart rules are used",
        ),
    ],
)
def test_wrong_containers(fields, expected):
    # A limit that is wrong is wrong once more as the request that follows from it.
    text, *others = of_container(**fields)
    assert all(".resources." in each for each in others)
    assert text.startswith("spec.containers[0].")
    assert expected in text


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"containers": []}, ["spec.containers: Required value"]),
        (
            {"containers": [container("a"), container("a")]},
            ['spec.containers[1].name: Duplicate value: "a"'],
        ),
        (
            {"initContainers": [container("main")]},
            ['spec.initContainers[0].name: Duplicate value: "main"'],
        ),
        (
            {"initContainers": [container("i", readinessProbe={"tcpSocket": {"port": 1}})]},
            ["spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without "
             "restartPolicy=Always"],
        ),
        (
            {"containers": [
                container("a", ports=[{"containerPort": 1, "hostPort": 5}]),
                container("b", ports=[{"containerPort": 2, "hostPort": 5}]),
            ]},
            ['spec.containers[1].ports[0].hostPort: Duplicate value: "TCP//5"'],
        ),
        (
            {"restartPolicy": "Maybe"},
            ['spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "OnFailure", "Never"'],
        ),
        (
            {"dnsPolicy": "X"},
            ['spec.dnsPolicy: Unsupported value: "X": supported values: "ClusterFirstWithHostNet", "ClusterFirst", '
             '"Default", "None"'],
        ),
        ({"dnsPolicy": "None"}, ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"]),
        (
            {"dnsConfig": {"nameservers": ["x"]}},
            ['spec.dnsConfig.nameservers[0]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or '
             "2001:db8::ffff)"],
        ),
        (
            {"dnsConfig": {"nameservers": ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4"]}},
            ['spec.dnsConfig.nameservers: Invalid value: ["1.1.1.1","1.1.1.2","1.1.1.3","1.1.1.4"]: must not have '
             "more than 3 nameservers"],
        ),
        (
            {"hostAliases": [{"ip": "x", "hostnames": ["a"]}]},
            ['spec.hostAliases[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or '
             "2001:db8::ffff)"],
        ),
        (
            {"activeDeadlineSeconds": 0},
            ["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
        ),
        (
            {"hostNetwork": True, "containers": [container(ports=[{"containerPort": 1, "hostPort": 2}])]},
            ["spec.containers[0].ports[0].hostPort: Invalid value: 2: must match `containerPort` when `hostNetwork` "
             "is true"],
        ),
        (
            {"shareProcessNamespace": True, "hostPID": True},
            ["spec.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be "
             "enabled"],
        ),
        (
            {"hostUsers": False, "hostPID": True},
            ["spec.hostPID: Forbidden: when `pod.Spec.HostUsers` is false"],
        ),
        (
            {"securityContext": {"sysctls": [{"name": "net.a", "value": "1"}]}, "hostNetwork": True},
            ['spec.securityContext.sysctls[0].name: Invalid value: "net.a": may not be specified when '
             "'hostNetwork' is true"],
        ),
        (
            {"securityContext": {"sysctls": [{"name": "a.b", "value": "1"}, {"name": "a.b", "value": "1"}]}},
            ['spec.securityContext.sysctls[1].name: Duplicate value: "a.b"'],
        ),
        (
            {"ephemeralContainers": [container("debug")]},
            ["spec.ephemeralContainers: Forbidden: cannot be set on create"],
        ),
        (
            {"nodeName": "n", "schedulingGates": [{"name": "a.b/c"}]},
            ["spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"],
        ),
        (
            {"tolerations": [{"operator": "Exists"}, {"key": "a", "operator": "Exists", "value": "b"}]},
            ['spec.tolerations[1].operator: Invalid value: "b": value must be empty when `operator` is \'Exists\''],
        ),
        (
            {"tolerations": [{"operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 1},
                             {"operator": "Exists"}]},
            ["spec.tolerations[0].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when "
             "`tolerationSeconds` is set"],
        ),
        (
            {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "a b"}]}}},
            ["spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid value: "
             '"a b": name part must consist of alphanumeric characters'],
        ),
        (
            {"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}]},
            ["spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero"],
        ),
        ({"os": {"name": "plan9"}}, ['spec.os.name: Unsupported value: "plan9": supported values: "linux", "windows"']),
        (
            {"priorityClassName": "High"},
            ['spec.priorityClassName: Invalid value: "High": a lowercase RFC 1123 subdomain must consist of'],
        ),
    ],
)  # fmt: skip
def test_wrong_pods(spec, expected):
    found = complaints(**spec)
    assert len(found) == len(expected)
    for text, beginning in zip(found, expected, strict=True):
        assert text.startswith(beginning)


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        ({"name": "", "emptyDir": {}}, "spec.volumes[0].name: Required value"),
        ({"name": "A", "emptyDir": {}}, f'spec.volumes[0].name: Invalid value: "A": {LABEL_TEXT}'),
        (
            {"name": "v", "emptyDir": {}, "hostPath": {"path": "/a"}},
            "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
        ),
        ({"name": "v", "hostPath": {"path": ""}}, "spec.volumes[0].hostPath.path: Required value"),
        (
            {"name": "v", "hostPath": {"path": "/a/../b"}},
            "spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
        ),
        (
            {"name": "v", "hostPath": {"path": "/a", "type": "Dir"}},
            'spec.volumes[0].hostPath.type: Unsupported value: "Dir": supported values: "", "BlockDevice"',
        ),
        (
            {"name": "v", "emptyDir": {"sizeLimit": "-1"}},
            "spec.volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity",
        ),
        ({"name": "v", "secret": {}}, "spec.volumes[0].secret.secretName: Required value"),
        (
            {"name": "v", "secret": {"secretName": "s", "defaultMode": 512}},
            "spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), "
            "both inclusive",
        ),
        (
            {"name": "v", "configMap": {"name": "c", "items": [{"key": "a", "path": "/a"}]}},
            'spec.volumes[0].configMap.items[0].path: Invalid value: "/a": must be a relative path',
        ),
        (
            {"name": "v", "configMap": {"name": "c", "items": [{"key": "a", "path": "..data"}]}},
            "spec.volumes[0].configMap.items[0].path: Invalid value: \"..data\": must not start with '..'",
        ),
        (
            {"name": "v", "downwardAPI": {"items": [{"path": "a"}]}},
            "spec.volumes[0].downwardAPI.items[0]: Required value: one of fieldRef and resourceFieldRef is required",
        ),
        (
            {"name": "v", "downwardAPI": {"items": [{"path": "a", "resourceFieldRef": {"resource": "limits.cpu"}}]}},
            "spec.volumes[0].downwardAPI.items[0].resourceFieldRef.containerName: Required value",
        ),
        (
            {"name": "v", "projected": {"sources": [{"secret": {"name": "a"}, "configMap": {"name": "b"}}]}},
            "spec.volumes[0].projected.sources[0]: Forbidden: may not specify more than 1 volume type per source",
        ),
        (
            {"name": "v", "projected": {"sources": [
                {"secret": {"name": "a", "items": [{"key": "k", "path": "p"}]}},
                {"configMap": {"name": "b", "items": [{"key": "k", "path": "p"}]}},
            ]}},
            'spec.volumes[0].projected: Invalid value: "b": conflicting duplicate paths',
        ),
        ({"name": "v", "nfs": {"server": "a"}}, "spec.volumes[0].nfs.path: Required value"),
    ],
)  # fmt: skip
def test_wrong_volumes(volume, expected):
    [text] = complaints(volumes=[volume])
    assert text.startswith(expected)


def test_volume_names_are_unique():
    volumes = [{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]
    assert complaints(volumes=volumes) == ['spec.volumes[1].name: Duplicate value: "v"']


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        ([{"name": "v"}], "volumeMounts[0].mountPath: Required value"),
        (
            [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/a"}],
            'volumeMounts[1].mountPath: Invalid value: "/a": must be unique',
        ),
        (
            [{"name": "v", "mountPath": "/a", "subPath": "a/../b"}],
            "volumeMounts[0].subPath: Invalid value: \"a/../b\": must not contain '..'",
        ),
        (
            [{"name": "v", "mountPath": "/a", "subPath": "/b"}],
            'volumeMounts[0].subPath: Invalid value: "/b": must be a relative path',
        ),
        (
            [{"name": "v", "mountPath": "/a", "subPath": "b", "subPathExpr": "c"}],
            'volumeMounts[0].subPathExpr: Invalid value: "c": subPathExpr and subPath are mutually exclusive',
        ),
        (
            [{"name": "v", "mountPath": "/a", "mountPropagation": "Bidirectional"}],
            "volumeMounts[0].mountPropagation: Forbidden: Bidirectional mount propagation is available only to "
            "privileged containers",
        ),
        (
            [{"name": "v", "mountPath": "/a", "recursiveReadOnly": "Enabled"}],
            "volumeMounts[0].recursiveReadOnly: Forbidden: may only be specified when readOnly is true",
        ),
    ],
)
def test_wrong_mounts(mounts, expected):
    volumes = [{"name": "v", "emptyDir": {}}]
    [text] = complaints(volumes=volumes, containers=[container(volumeMounts=mounts)])
    assert text == f"spec.containers[0].{expected}"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ({"path": "a", "key": "K"}, "volumeName: Required value"),
        ({"volumeName": "no", "path": "a", "key": "K"}, 'volumeName: Not found: "no"'),
        (
            {"volumeName": "host", "path": "a", "key": "K"},
            'volumeName: Invalid value: "host": referenced volume must be of type emptyDir',
        ),
        ({"volumeName": "data", "key": "K"}, "path: Required value"),
        (
            {"volumeName": "data", "path": "/a", "key": "K"},
            'path: Invalid value: "/a": must be a relative path',
        ),
        (
            {"volumeName": "data", "path": "../a", "key": "K"},
            "path: Invalid value: \"../a\": must not contain '..'",
        ),
        ({"volumeName": "data", "path": "a"}, "key: Required value"),
        (
            {"volumeName": "data", "path": "a", "key": "A=B"},
            'key: Invalid value: "A=B": a valid environment variable name',
        ),
        (
            {"volumeName": "data", "path": "a", "key": "K" * 129},
            "key: Too long: may not be more than 128 bytes",
        ),
    ],
)
def test_a_file_key_reference_names_a_file_of_an_empty_dir(reference, message):
    found = complaints(
        containers=[container(env=[{"name": "A", "valueFrom": {"fileKeyRef": reference}}])],
        volumes=[{"name": "data", "emptyDir": {}}, {"name": "host", "hostPath": {"path": "/x"}}],
    )
    assert [
        each
        for each in found
        if f"spec.containers[0].env[0].valueFrom.fileKeyRef.{message}" in each
    ], found


def test_a_file_key_reference_is_valid_and_not_optional_by_default():
    made = defaulted(
        containers=[
            container(
                env=[
                    {
                        "name": "A",
                        "valueFrom": {
                            "fileKeyRef": {"volumeName": "data", "path": "dir/a.env", "key": "K"}
                        },
                    }
                ]
            )
        ],
        volumes=[{"name": "data", "emptyDir": {}}],
    )
    assert texts(validation.validate_create(POD, made)) == []
    reference = made["spec"]["containers"][0]["env"][0]["valueFrom"]["fileKeyRef"]
    assert reference["optional"] is False


def test_an_image_volume_names_an_image_and_may_be_mounted_in_part():
    made = defaulted(
        containers=[
            container(volumeMounts=[{"name": "data", "mountPath": "/data", "subPath": "a"}])
        ],
        volumes=[{"name": "data", "image": {"reference": "data:v1"}}],
    )
    assert texts(validation.validate_create(POD, made)) == []
    assert made["spec"]["volumes"][0]["image"]["pullPolicy"] == "IfNotPresent"
    assert complaints(volumes=[{"name": "data", "image": {"pullPolicy": "Never"}}]) == [
        "spec.volumes[0].image.reference: Required value"
    ]
    found = complaints(
        volumes=[{"name": "data", "image": {"reference": "a", "pullPolicy": "Soon"}}]
    )
    assert found == [
        'spec.volumes[0].image.pullPolicy: Unsupported value: "Soon": '
        'supported values: "Always", "IfNotPresent", "Never"'
    ]
