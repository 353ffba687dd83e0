"""Volumes that are images (KEP-4639): pulled as containers' images are, and mounted before the first that mounts them.

An image is resolved once in a Pod's life: what its containers see does not change when one is restarted. The image is
held as long as the Pod is there.
"""

from dataclasses import dataclass
from pathlib import Path

from minipod.client import Object
from minipod.image.model import Image
from minipod.linux.mounts import mounts
from minipod.runtime.operations import MountLayers

KIND = "image"


@dataclass(frozen=True)
class ImageVolume:
    """One volume, as a thing whose image is found and pulled like a container's."""

    name: str
    source: Object

    @property
    def key(self) -> str:
        """What its lease and its failures are kept under; no container can be called so."""
        return f"volume.{self.name}"

    def wanted_by(self, container: Object) -> Object:
        """Return the image as a container's: what is told of it is told of the one that waits for it."""
        policy = self.source.get("pullPolicy")
        return {
            "name": container["name"],
            "image": self.source.get("reference") or "",
            **({"imagePullPolicy": policy} if policy else {}),
        }


def find_image_volumes(pod: Object, container: Object | None = None) -> list[ImageVolume]:
    """Return the image volumes of a Pod, or those that one of its containers mounts. Pure."""
    mounted = None
    if container is not None:
        mounted = {each["name"] for each in container.get("volumeMounts") or ()}
    return [
        ImageVolume(volume["name"], volume[KIND])
        for volume in pod["spec"].get("volumes") or ()
        if volume.get(KIND) is not None and (mounted is None or volume["name"] in mounted)
    ]


def image_volume_place(directory: Path, name: str) -> str:
    """Return where an image volume is mounted on the host, in a Pod's directory."""
    return str(directory / "volumes" / f"kubernetes.io~{KIND}" / name)


def compute_image_mount(place: str, image: Image) -> MountLayers:
    """Return the operation that mounts an image there."""
    return MountLayers(place, tuple(image.layers))


def is_mounted(place: str) -> bool:
    """Return whether an image is mounted there, by this daemon or the one before."""
    path = str(Path(place).resolve())
    return any(each.point == path and each.type == "overlay" for each in mounts())
