"""Images for containers: what is here, what imagePullPolicy asks for, and the words for it. Pure, but for the store.

An image that was built, loaded or tagged here, and one that an alias stands for, is no registry's: it is used whatever
the policy. Containers lease their images, so that an image in use is not removed.
"""

from typing import Protocol

from minipod.client import Object
from minipod.image.names import parse_reference
from minipod.image.store import Image, ImageError
from minipod.node.errors import StepError

ADVICE = 'add it with "minipod image build" or "minipod image load"'


class Images(Protocol):
    """The part of the image store that the node uses."""

    def resolve(self, reference: str) -> Image | None:
        """Return the image of that name. ValueError for an invalid name."""

    def pulled_digest(self, reference: str) -> str:
        """Return the digest under which a registry gave the image; "" when it was made here."""

    def lease(self, image: Image, owner: str, user: str, *, wait: bool = True) -> None:
        """Keep the image for `owner`, which is called `user` where it is in the way. BlockingIOError unless `wait`."""

    def release(self, owner: str) -> None:
        """Give the lease up."""

    def leases(self) -> dict[str, str]:
        """Return owner -> manifest digest."""

    def clear_leftovers(self) -> None:
        """Remove what a killed daemon has left half-written."""


def lease_owner(uid: str, container: str) -> str:
    """Return the name under which a container of a Pod holds its image."""
    return f"{uid}.{container}"


def pull_policy(container: Object) -> str:
    """Return the policy; the API server fills it in, manifests of other origin may lack it."""
    return str(container.get("imagePullPolicy") or "IfNotPresent")


def find_image(images: Images, container: Object) -> Image | None:
    """Return the container's image as it is here, None when there is none.

    StepError: InvalidImageName, ImageInspectError, or ErrImageNeverPull.
    """
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
    if found is None and pull_policy(container) == "Never":
        raise not_present(reference)
    return found


def not_present(reference: str) -> StepError:
    """Return what is said of an image that is not here, and must not be pulled."""
    message = f'Container image "{reference}" is not present with pull policy of Never; {ADVICE}'
    return StepError("ErrImageNeverPull", message)


def must_pull(images: Images, container: Object, found: Image | None) -> bool:
    """Whether a registry is to be asked before the container starts."""
    if found is None:
        return True
    if pull_policy(container) != "Always":
        return False
    reference = parse_reference(str(container["image"]))
    return found.reference == str(reference) and bool(images.pulled_digest(str(reference)))


def is_made_here(images: Images, reference: str, found: Image) -> bool:
    """Whether an image was built, loaded or tagged here under this very name, or under another that stands for it.

    One that is found by a digest or an ID, which some registry's image has, is not.
    """
    try:
        name = str(parse_reference(reference))
    except ValueError:
        return False
    wanted = parse_reference(reference)
    if wanted.digest:
        return False
    if found.reference != name:  # an alias
        return not images.pulled_digest(found.reference)
    return not images.pulled_digest(name)


def found_message(container: Object) -> str:
    """Return the Pulled Event's words for an image that is here."""
    message = (
        f'Container image "{container["image"]}" already present on machine and can be accessed '
        "by the pod"
    )
    if pull_policy(container) == "Always":
        message += "; it was made here, no registry has another"
    return message
