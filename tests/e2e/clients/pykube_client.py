"""pykube-ng: objects, a watch, a scale and a log. Run as `python pykube_client.py KUBECONFIG POD`."""

import sys

import pykube

api = pykube.HTTPClient(pykube.KubeConfig.from_file(sys.argv[1]))
METADATA = {"name": "pykube", "namespace": "default", "labels": {"of": "pykube"}}


def objects() -> None:
    made = pykube.ConfigMap(api, {"metadata": METADATA, "data": {"a": "1"}})
    made.create()
    made.obj["data"]["b"] = "2"
    made.update()
    made.patch({"data": {"c": "3"}})
    assert made.obj["data"] == {"a": "1", "b": "2", "c": "3"}
    chosen = pykube.ConfigMap.objects(api).filter(
        namespace="default", selector={"of__in": {"pykube"}}
    )
    assert [each.name for each in chosen] == ["pykube"]
    assert next(iter(chosen.watch())).type == "ADDED"
    made.delete()
    assert not made.exists()


def scale() -> None:
    template = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    made = pykube.Deployment(api, {"metadata": METADATA, "spec": spec})
    made.create()
    made.scale(3)
    made.reload()
    assert made.replicas == 3
    made.delete(propagation_policy="Foreground")


def logs() -> None:
    pod = pykube.Pod.objects(api).filter(namespace="default").get(name=sys.argv[2])
    assert pod.ready
    assert isinstance(pod.logs(container="main"), str)


for step in (objects, scale, logs):
    step()
    print("ok", step.__name__, flush=True)
