"""Helm's own library: the life of a chart's release. Run as `python helm_client.py KUBECONFIG POD`."""

import pathlib
import sys
import tempfile
from typing import Any

import helm_python
import pykube

TEMPLATE = """
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}, labels: {release: {{ .Release.Name }}}}
data:
  greeting: {{ .Values.greeting }}
  apps: {{ .Capabilities.APIVersions.Has "apps/v1/Deployment" | quote }}
  found: {{ (lookup "v1" "Namespace" "" "default").metadata.name }}
---
apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}}
spec: {selector: {app: helm}, ports: [{port: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-hook
  annotations: {helm.sh/hook: pre-install, helm.sh/hook-delete-policy: hook-succeeded}
"""
config = helm_python.Config(kubeconfig_path=sys.argv[1], namespace="helm")
api = pykube.HTTPClient(pykube.KubeConfig.from_file(sys.argv[1]))
config_maps = pykube.ConfigMap.objects(api).filter(namespace="helm")


def chart() -> pathlib.Path:
    directory = pathlib.Path(tempfile.mkdtemp())
    (directory / "templates").mkdir()
    (directory / "Chart.yaml").write_text("apiVersion: v2\nname: demo\nversion: 0.1.0\n")
    (directory / "values.yaml").write_text("greeting: hello\n")
    (directory / "templates" / "all.yaml").write_text(TEMPLATE)
    return directory


def data() -> Any:
    return config_maps.get(name="demo").obj["data"]


def releases() -> None:
    config.check_reachable()
    config.install(chart(), "demo", create_namespace=True, wait="watcher", timeout=20)
    assert data() == {"greeting": "hello", "apps": "true", "found": "default"}
    config.upgrade(chart(), "demo", values={"greeting": "again"})
    assert data()["greeting"] == "again"
    config.rollback("demo")
    assert data()["greeting"] == "hello"
    assert [each["revision"] for each in config.history("demo")] == [1, 2, 3]
    config.uninstall("demo", wait="watcher", timeout=20)
    assert [each.name for each in config_maps] == ["kube-root-ca.crt"], (
        "nothing of the release is left"
    )
    pykube.Namespace.objects(api).get(name="helm").delete()


for step in (releases,):
    step()
    print("ok", step.__name__, flush=True)
