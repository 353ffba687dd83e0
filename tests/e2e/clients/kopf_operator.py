"""kopf: an operator that sees ConfigMaps come, change and go. Run as `python kopf_operator.py KUBECONFIG POD`."""

import os
import sys
import threading
from typing import Any

os.environ["KUBECONFIG"] = sys.argv[1]

import kopf
import pykube

LABELS = {"operated": "yes"}
api = pykube.HTTPClient(pykube.KubeConfig.from_file(sys.argv[1]))
METADATA = {"name": "kopf", "namespace": "default", "labels": LABELS}
ready, stop = threading.Event(), threading.Event()
seen = {name: threading.Event() for name in ("made", "changed", "gone")}


@kopf.on.create("configmaps", labels=LABELS)
def made(body: Any, patch: Any, **_: Any) -> None:
    patch["data"] = {"operator": "was here"}
    kopf.info(body, reason="Seen", message="operated")
    seen["made"].set()


@kopf.on.update("configmaps", labels=LABELS, field="data.user")
def changed(**_: Any) -> None:
    seen["changed"].set()


@kopf.on.delete("configmaps", labels=LABELS)
def gone(**_: Any) -> None:
    seen["gone"].set()


def await_seen(name: str) -> None:
    assert seen[name].wait(20), f"the operator has not seen it {name}"


def operated() -> None:
    options = {"namespaces": ["default"], "standalone": True, "ready_flag": ready}
    operator = threading.Thread(target=kopf.run, kwargs={**options, "stop_flag": stop}, daemon=True)
    operator.start()
    assert ready.wait(20)
    mine = pykube.ConfigMap(api, {"metadata": METADATA})
    mine.create()
    await_seen("made")
    mine.patch({"data": {"user": "too"}})
    await_seen("changed")
    mine.reload()  # by now the operator's own change is there too
    assert mine.obj["data"] == {"operator": "was here", "user": "too"}, mine.obj
    assert mine.metadata["finalizers"], "an operator holds what it watches over"
    mine.delete()
    await_seen("gone")
    stop.set()
    operator.join(20)
    assert not operator.is_alive()
    assert not mine.exists()


for step in (operated,):
    step()
    print("ok", step.__name__, flush=True)
