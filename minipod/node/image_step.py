"""The image of a container that is to be started: found here, or pulled, with the kubelet's Events and back-off."""

import asyncio
from collections.abc import Sequence

from minipod.api.errors import StatusError
from minipod.client import Object
from minipod.image.credentials import Keyring, merge, parse_auths, select
from minipod.image.names import parse_reference
from minipod.image.store import Image, ImageError
from minipod.node.actions import Start
from minipod.node.backoff import format_duration
from minipod.node.errors import StepError
from minipod.node.images import find_image, found_message, must_pull
from minipod.node.parts import Memory, Parts
from minipod.node.pods import find_container, uid_of
from minipod.node.pulling import PullFailure
from minipod.node.status import Waiting
from minipod.node.workers import Work

_AUTH_KEYS = {  # type of a Secret -> its key, and whether that is the old form
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson", False),
    "kubernetes.io/dockercfg": (".dockercfg", True),
}
_INSPECT_REASONS = {
    "ErrImageNeverPull": "ErrImageNeverPull",
    "InvalidImageName": "InspectFailed",
    "ImageInspectError": "InspectFailed",
}


class ImageStep:
    """Finds and pulls."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def find(self, pod: Object, starts: Sequence[Start], memory: Memory) -> dict[str, Image]:
        """Return the images that can be used as they are here, by container."""
        found: dict[str, Image] = {}
        for start in starts:
            container = _container(pod, start.name)
            try:
                image = find_image(self._parts.images, container)
            except StepError:
                continue  # told of in its turn
            if image is not None and not must_pull(self._parts.images, container, image):
                found[start.name] = image
                forget_failures(memory, start.name)
        return found

    def tell_found(self, pod: Object, start: Start) -> None:
        """Record that an image that is here is used."""
        message = found_message(_container(pod, start.name))
        self._parts.event(pod, "Normal", "Pulled", message, start.name)

    async def obtain(self, work: Work, pod: Object, start: Start) -> Image | None:
        """Pull the image that a container needs and return it; None, and a waiting reason, when it cannot be had."""
        memory, container = self._parts.memory(uid_of(pod)), _container(pod, start.name)
        name, now = start.name, self._parts.clock.now()
        try:
            find_image(self._parts.images, container)
            if now < memory.image_retry.get(name, 0.0):
                self._tell_backoff(pod, container, memory)
                return None
            await self._pull(work, pod, container)
            image = find_image(self._parts.images, container)
        except StepError as error:
            self._tell_failure(pod, container, error, memory)
            return None
        if image is not None:
            forget_failures(memory, name)
        return image

    async def _pull(self, work: Work, pod: Object, container: Object) -> None:
        """Pull, unless the Pod is killed meanwhile. StepError ErrImagePull."""
        parts, reference = self._parts, str(container["image"])
        parts.event(pod, "Normal", "Pulling", f'Pulling image "{reference}"', container["name"])
        parts.report(pod)
        began = parts.clock.now()
        keyring = await self._keyring(pod, reference)
        pulling = asyncio.ensure_future(parts.puller.pull(reference, keyring))
        killed = asyncio.ensure_future(work.killed.wait())
        try:
            await asyncio.wait({pulling, killed}, return_when=asyncio.FIRST_COMPLETED)
        finally:  # this work may itself be abandoned
            given_up = not pulling.done()
            killed.cancel()
            pulling.cancel()
        if given_up:
            raise StepError("ErrImagePull", "context canceled")
        try:
            size = pulling.result()
        except PullFailure as failure:
            raise StepError("ErrImagePull", str(failure)) from None
        took = format_duration(round(parts.clock.now() - began, 3))
        message = f'Successfully pulled image "{reference}" in {took} ({took} including waiting)'
        message += f". Image size: {size} bytes."
        parts.event(pod, "Normal", "Pulled", message, container["name"])

    async def _keyring(self, pod: Object, reference: str) -> Keyring:
        """Return what `imagePullSecrets` give for an image."""
        names = [
            each["name"] for each in pod["spec"].get("imagePullSecrets") or () if "name" in each
        ]
        missing, found = [], []
        for name in names:
            try:
                found.append(await self._read_secret(pod, name))
            except (StatusError, ImageError):
                missing.append(name)
        if missing:
            listed = ", ".join(missing)
            message = (
                f"Unable to retrieve some image pull secrets ({listed}); attempting to pull the "
                "image may not succeed."
            )
            self._parts.event(pod, "Warning", "FailedToRetrieveImagePullSecret", message)
        wanted = select(merge(found), parse_reference(reference))
        return tuple((parse_reference(reference).domain, each) for each in wanted)

    async def _read_secret(self, pod: Object, name: str) -> Keyring:
        namespace = pod["metadata"]["namespace"]
        secret = await self._parts.client.get("secrets", namespace, name)
        key, legacy = _AUTH_KEYS.get(secret.get("type", ""), ("", False))
        data = (secret.get("data") or {}).get(key)
        if not data:
            raise ImageError(f'Secret "{name}" holds no credentials of registries')
        import base64

        return parse_auths(base64.b64decode(data), f'Secret "{name}"', legacy=legacy)

    # -- telling ---------------------------------------------------------------------------------

    def _tell_backoff(self, pod: Object, container: Object, memory: Memory) -> None:
        name, image = container["name"], container["image"]
        detail = memory.image_errors.get(name, "")
        waiting = Waiting("ImagePullBackOff", f'Back-off pulling image "{image}": {detail}')
        if memory.waiting.get(name) != waiting:
            memory.waiting[name] = waiting
            event = self._parts.event
            event(pod, "Normal", "BackOff", f'Back-off pulling image "{image}"', name)
            event(pod, "Warning", "Failed", "Error: ImagePullBackOff", name)

    def _tell_failure(
        self, pod: Object, container: Object, error: StepError, memory: Memory
    ) -> None:
        """Tell why there is no image, and when the next look is due."""
        name, settings = container["name"], self._parts.backoffs.settings
        tries = memory.image_tries[name] = memory.image_tries.get(name, 0) + 1
        delay = min(settings.base * 2 ** (tries - 1), settings.limit)
        memory.image_retry[name] = self._parts.clock.now() + delay
        memory.image_errors[name] = f"{error.reason}: {error.message}"
        if memory.waiting.get(name) == Waiting(error.reason, error.message):
            return
        memory.waiting[name] = Waiting(error.reason, error.message)
        reason, told = _INSPECT_REASONS.get(error.reason, "Failed"), error.message
        if error.reason == "ErrImagePull":  # in the Event alone, as upstream has it
            told = f'Failed to pull image "{container["image"]}": {told}'
        self._parts.event(pod, "Warning", reason, told, name)
        self._parts.event(pod, "Warning", "Failed", f"Error: {error.reason}", name)


def forget_failures(memory: Memory, name: str) -> None:
    """Forget earlier failures: the image is there."""
    memory.image_tries.pop(name, None)
    memory.image_retry.pop(name, None)
    memory.image_errors.pop(name, None)
    memory.waiting.pop(name, None)


def _container(pod: Object, name: str) -> Object:
    found = find_container(pod, name)
    assert found is not None
    return found[1]
