"""Which Secrets, ConfigMaps and ClusterTrustBundles a Pod refers to, and fetching them."""

from minipod.api.errors import StatusError
from minipod.client import Client, Object
from minipod.node.environment import References
from minipod.node.pods import containers_of
from minipod.node.projection import wanted_token

TRUST_BUNDLES = "clustertrustbundles.certificates.k8s.io"


def find_references(pod: Object) -> tuple[set[str], set[str]]:
    """Return the names of the Secrets and of the ConfigMaps that volumes and environments refer to. Pure."""
    secrets: set[str] = set()
    config_maps: set[str] = set()
    for volume in pod["spec"].get("volumes") or ():
        if "secret" in volume:
            secrets.add(volume["secret"]["secretName"])
        if "configMap" in volume:
            config_maps.add(volume["configMap"]["name"])
        for source in (volume.get("projected") or {}).get("sources") or ():
            _add(source, "secret", secrets)
            _add(source, "configMap", config_maps)
    for _, container in containers_of(pod):
        for source in container.get("envFrom") or ():
            _add(source, "secretRef", secrets)
            _add(source, "configMapRef", config_maps)
        for variable in container.get("env") or ():
            _add(variable.get("valueFrom") or {}, "secretKeyRef", secrets)
            _add(variable.get("valueFrom") or {}, "configMapKeyRef", config_maps)
    return secrets, config_maps


def _add(source: Object, key: str, names: set[str]) -> None:
    if key in source and source[key].get("name"):
        names.add(source[key]["name"])


def wants_trust_bundles(pod: Object) -> bool:
    """Return whether a volume of the Pod holds ClusterTrustBundles. Pure."""
    return any(
        "clusterTrustBundle" in source
        for volume in pod["spec"].get("volumes") or ()
        for source in (volume.get("projected") or {}).get("sources") or ()
    )


def find_tokens(pod: Object) -> set[tuple[str, int]]:
    """Return the service account tokens that the Pod's volumes hold, by audience and seconds. Pure."""
    sources = [
        source["serviceAccountToken"]
        for volume in pod["spec"].get("volumes") or ()
        for source in (volume.get("projected") or {}).get("sources") or ()
        if source.get("serviceAccountToken")
    ]
    return {wanted_token(each) for each in sources}


async def fetch_references(client: Client, pod: Object) -> References:
    """Return the objects as they are now, without tokens; None for those that do not exist."""
    secrets, config_maps = find_references(pod)
    namespace = pod["metadata"]["namespace"]
    bundles = await client.list(TRUST_BUNDLES) if wants_trust_bundles(pod) else None
    return References(
        trust_bundles=bundles.items if bundles else (),
        config_maps={n: await _get(client, "configmaps", namespace, n) for n in config_maps},
        secrets={n: await _get(client, "secrets", namespace, n) for n in secrets},
    )


async def _get(client: Client, resource: str, namespace: str, name: str) -> Object | None:
    try:
        return await client.get(resource, namespace, name)
    except StatusError as error:
        if error.code == 404:
            return None
        raise
