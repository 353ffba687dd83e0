"""What is in use is not deleted: claims wait for their Pods, volumes for their claims (pvc- and pv-protection).

Admission puts the finalizers on; here they are taken off, once nobody uses the object.
"""

from minipod.client import Client, Object
from minipod.clock import Clock
from minipod.controllers.keyed_loop import KeyedLoop
from minipod.informer import Informer

_CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
_VOLUME_FINALIZER = "kubernetes.io/pv-protection"


class VolumeProtection:
    """Finishes the deletion of claims and volumes."""

    def __init__(self, claims: Client, volumes: Client, clock: Clock) -> None:
        self._claim_client = claims
        self._volume_client = volumes
        self._pods = Informer(claims, "pods", self._on_pod)
        self._claims = Informer(claims, "persistentvolumeclaims", self._on_claim)
        self._volumes = Informer(volumes, "persistentvolumes", self._on_volume)
        self._claim_loop = KeyedLoop(clock, "claim protection", self._sync_claim)
        self._volume_loop = KeyedLoop(clock, "volume protection", self._sync_volume)

    async def start(self) -> None:
        """Follow claims, volumes, and the Pods that use them."""
        await self._pods.start()
        await self._claims.start()
        await self._volumes.start()

    async def stop(self) -> None:
        """End."""
        for informer in (self._volumes, self._claims, self._pods):
            await informer.stop()
        await self._claim_loop.stop()
        await self._volume_loop.stop()

    async def wait_idle(self) -> None:
        """Wait until nothing is being finished."""
        await self._claim_loop.wait_idle()
        await self._volume_loop.wait_idle()

    def _on_pod(self, new: Object | None, old: Object | None) -> None:
        pod = new or old or {}
        if new is None or is_over(new):
            for name in claims_of(pod):
                self._claim_loop.look(pod["metadata"]["namespace"], name)

    def _on_claim(self, new: Object | None, _old: Object | None) -> None:
        if new is not None and "deletionTimestamp" in new["metadata"]:
            self._claim_loop.look(new["metadata"]["namespace"], new["metadata"]["name"])

    def _on_volume(self, new: Object | None, _old: Object | None) -> None:
        if new is not None and "deletionTimestamp" in new["metadata"]:
            self._volume_loop.look("", new["metadata"]["name"])

    async def _sync_claim(self, namespace: str, name: str) -> None:
        claim = self._claims.get(namespace, name)
        if claim is None or "deletionTimestamp" not in claim["metadata"]:
            return
        # The newest Pods, not the ones heard of: a Pod that was just made counts.
        pods = (await self._claim_client.list("pods", namespace)).items
        if not any(name in claims_of(pod) and not is_over(pod) for pod in pods):
            client = self._claim_client
            await _release(client, "persistentvolumeclaims", claim, _CLAIM_FINALIZER)

    async def _sync_volume(self, _namespace: str, name: str) -> None:
        volume = self._volumes.get("", name)
        if volume is None or "deletionTimestamp" not in volume["metadata"]:
            return
        if (volume.get("status") or {}).get("phase") != "Bound":
            await _release(self._volume_client, "persistentvolumes", volume, _VOLUME_FINALIZER)


async def _release(client: Client, resource: str, obj: Object, finalizer: str) -> None:
    """Take a finalizer off."""
    finalizers = obj["metadata"].get("finalizers") or []
    if finalizer not in finalizers:
        return
    kept = [each for each in finalizers if each != finalizer]
    changed = {**obj, "metadata": {**obj["metadata"], "finalizers": kept}}
    await client.update(resource, obj["metadata"].get("namespace", ""), changed)


def claims_of(pod: Object) -> list[str]:
    """Return the names of the claims that a Pod uses, those made for its ephemeral volumes included."""
    found = []
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        claim = volume.get("persistentVolumeClaim") or {}
        if claim.get("claimName"):
            found.append(claim["claimName"])
        if volume.get("ephemeral") is not None:
            found.append(f"{pod['metadata']['name']}-{volume.get('name')}")
    return found


def is_over(pod: Object) -> bool:
    """Whether a Pod uses nothing any more."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
