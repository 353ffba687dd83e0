"""Images for containers: what imagePullPolicy means where images are built and loaded, not pulled.

An image that is in the store is used whatever the policy; one that is not cannot be pulled, and the message says
what can be done. Containers lease their images, so that an image in use is not removed.
"""

from typing import Protocol

from minipod.client import Object
from minipod.image.store import Image, ImageError
from minipod.node.errors import StepError

ADVICE = (
    'add it with "minipod image build" or "minipod image load", or give it another name with '
    '"minipod image tag"'
)


class Images(Protocol):
    """The part of the image store that the node uses."""

    def resolve(self, reference: str) -> Image | None:
        """Return the image of that name. ValueError for an invalid name."""

    def lease(self, image: Image, owner: str) -> None:
        """Keep the image for `owner`."""

    def release(self, owner: str) -> None:
        """Give the lease up."""

    def leases(self) -> dict[str, str]:
        """Return owner -> manifest digest."""


def lease_owner(uid: str, container: str) -> str:
    """Return the name under which a container of a Pod holds its image."""
    return f"{uid}.{container}"


def pull_policy(container: Object) -> str:
    """Return the policy; the API server fills it in, manifests of other origin may lack it."""
    return str(container.get("imagePullPolicy") or "IfNotPresent")


def find_image(images: Images, container: Object) -> Image:
    """Return the container's image. StepError: InvalidImageName, ErrImageNeverPull or ErrImagePull."""
    reference = str(container["image"])
    try:
        found = images.resolve(reference)
    except ValueError as error:
        message = f'Failed to apply default image tag "{reference}": {error}'
        raise StepError("InvalidImageName", message) from None
    except (ImageError, OSError) as error:
        raise StepError(
            "ImageInspectError", f'Failed to inspect image "{reference}": {error}'
        ) from None
    if found is not None:
        return found
    if pull_policy(container) == "Never":
        raise StepError(
            "ErrImageNeverPull",
            f'Container image "{reference}" is not present with pull policy of Never; {ADVICE}',
        )
    raise StepError(
        "ErrImagePull",
        f'Failed to pull image "{reference}": it is not in the image store, and minipod does not pull; {ADVICE}',
    )


def found_message(container: Object) -> str:
    """Return the Pulled Event's words for an image that is there."""
    message = f'Container image "{container["image"]}" already present on machine'
    if pull_policy(container) == "Always":
        message += "; imagePullPolicy Always uses it, minipod does not pull"
    return message
