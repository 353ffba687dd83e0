"""kubernetes_asyncio: a watch, exec, and the dynamic client. Run as `python asyncio_client.py KUBECONFIG POD`."""

import asyncio
import sys

from kubernetes_asyncio import client, config, dynamic, watch
from kubernetes_asyncio.stream import WsApiClient


async def watched() -> None:
    async with client.ApiClient() as api:
        core = client.CoreV1Api(api)
        named = {"field_selector": "metadata.name=asyncio", "timeout_seconds": 20}
        async with watch.Watch().stream(
            core.list_namespaced_config_map, "default", **named
        ) as events:
            await core.create_namespaced_config_map("default", {"metadata": {"name": "asyncio"}})
            assert (await anext(events))["type"] == "ADDED"
            await core.delete_namespaced_config_map("asyncio", "default")
            assert (await anext(events))["type"] == "DELETED"


async def commands() -> None:
    async with WsApiClient() as api:
        core = client.CoreV1Api(api)
        options = {
            "container": "main",
            "stdin": False,
            "stdout": True,
            "stderr": True,
            "tty": False,
        }
        command = ["echo", "inside"]
        said = await core.connect_get_namespaced_pod_exec(
            sys.argv[2], "default", command=command, **options
        )
        assert said == "inside\n", said


async def applied() -> None:
    async with client.ApiClient() as api:
        resources = (await dynamic.DynamicClient(api)).resources
        config_maps = await resources.get(api_version="v1", kind="ConfigMap")
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "dynamic"},
            "data": {"a": "1"},
        }
        where = {"name": "dynamic", "namespace": "default"}
        made = await config_maps.server_side_apply(body=body, field_manager="asyncio", **where)
        assert made.data.a == "1"
        assert made.metadata.managedFields[0].manager == "asyncio"
        await config_maps.delete(**where)


async def main() -> None:
    await config.load_kube_config(sys.argv[1])
    for step in (watched, commands, applied):
        await step()
        print("ok", step.__name__, flush=True)


asyncio.run(main())
