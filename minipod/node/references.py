"""Which Secrets, ConfigMaps and ClusterTrustBundles a Pod refers to, and fetching them."""

from collections.abc import Callable

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


StandIn = Callable[[str, str], Object]  # takes a resource and a name


async def fetch_references(
    client: Client, pod: Object, stand_in: StandIn | None = None
) -> References:
    """Return the objects as they are now, without tokens; None for those that do not exist.

    `stand_in` is asked for what the node may not read, as for a Pod that is only thought of.
    """
    secrets, config_maps = find_references(pod)
    namespace = pod["metadata"]["namespace"]
    bundles = await client.list(TRUST_BUNDLES) if wants_trust_bundles(pod) else None

    async def get(resource: str, name: str) -> Object | None:
        try:
            return await client.get(resource, namespace, name)
        except StatusError as error:
            if error.code == 404:
                return None
            if error.code == 403 and stand_in is not None:
                return stand_in(resource, name)
            raise

    return References(
        trust_bundles=bundles.items if bundles else (),
        config_maps={name: await get("configmaps", name) for name in config_maps},
        secrets={name: await get("secrets", name) for name in secrets},
    )


def find_keys_of(pod: Object, resource: str, name: str) -> set[str]:
    """Return the keys that a Pod names of a Secret or ConfigMap. Pure."""
    kind = {"secrets": "secret", "configmaps": "configMap"}[resource]
    sources = [volume.get(kind) or {} for volume in pod["spec"].get("volumes") or ()]
    for volume in pod["spec"].get("volumes") or ():
        sources += [s.get(kind) or {} for s in (volume.get("projected") or {}).get("sources") or ()]
    found = {
        item["key"]
        for source in sources
        if name in (source.get("name"), source.get("secretName"))
        for item in source.get("items") or ()
    }
    for _, container in containers_of(pod):
        for variable in container.get("env") or ():
            reference = (variable.get("valueFrom") or {}).get(f"{kind}KeyRef") or {}
            found |= {reference["key"]} if reference.get("name") == name else set()
    return found
