"""lightkube: objects, a watch, server-side apply and a log. Run as `python lightkube_client.py KUBECONFIG POD`."""

import sys

from lightkube import Client, KubeConfig
from lightkube.core.exceptions import ApiError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Pod

client = Client(KubeConfig.from_file(sys.argv[1]).get(), field_manager="lightkube")


def objects() -> None:
    made = client.create(
        ConfigMap(metadata=ObjectMeta(name="lightkube", namespace="default"), data={"a": "1"})
    )
    assert made.metadata.uid
    client.patch(ConfigMap, "lightkube", {"data": {"b": "2"}}, namespace="default")
    applied = client.apply(
        ConfigMap(metadata=ObjectMeta(name="lightkube", namespace="default"), data={"c": "3"})
    )
    assert applied.data == {"a": "1", "b": "2", "c": "3"}, applied.data
    names = [
        each.metadata.name
        for each in client.list(
            ConfigMap, namespace="default", fields={"metadata.name": "lightkube"}
        )
    ]
    assert names == ["lightkube"]
    watch = client.watch(
        ConfigMap, namespace="default", fields={"metadata.name": "lightkube"}, server_timeout=20
    )
    assert next(iter(watch))[0] == "ADDED"
    client.delete(ConfigMap, "lightkube", namespace="default")
    assert next(iter(watch))[0] == "DELETED"
    try:
        client.get(ConfigMap, "lightkube", namespace="default")
    except ApiError as missing:
        assert missing.status.code == 404
    else:
        raise AssertionError("it is still there")


def logs() -> None:
    assert client.get(Pod, sys.argv[2], namespace="default").status.phase == "Running"
    assert isinstance(list(client.log(sys.argv[2], namespace="default", container="main")), list)


for step in (objects, logs):
    step()
    print("ok", step.__name__, flush=True)
