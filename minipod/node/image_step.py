"""The image of a container that is to be started: found here, or pulled, with the kubelet's Events and back-off."""

import asyncio
from collections.abc import Sequence

from minipod.api.errors import StatusError
from minipod.client import Object
from minipod.image.credentials import (
    Credential,
    Keyring,
    fingerprint,
    merge,
    parse_auths,
    select,
)
from minipod.image.names import parse_reference
from minipod.image.store import Image, ImageError
from minipod.node.actions import Start
from minipod.node.backoff import format_duration
from minipod.node.errors import StepError
from minipod.node.image_volumes import ImageVolume
from minipod.node.images import (
    find_image,
    found_message,
    is_made_here,
    must_pull,
    not_present,
    pull_policy,
)
from minipod.node.parts import Memory, Parts
from minipod.node.pods import known_container, uid_of
from minipod.node.pull_records import PullSecret
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
            container = known_container(pod, start.name)
            try:
                image = find_image(self._parts.images, container)
            except StepError:
                continue  # told of in its turn
            if image is not None and self._is_free(container, image):
                found[start.name] = image
                forget_failures(memory, start.name, start.name)
        return found

    def tell_found(self, pod: Object, start: Start) -> None:
        """Record that an image that is here is used."""
        self._tell_found(pod, known_container(pod, start.name))

    async def obtain(self, work: Work, pod: Object, start: Start) -> Image | None:
        """Pull the image that a container needs and return it; None, and a waiting reason, when it cannot be had."""
        return await self._obtain(work, pod, known_container(pod, start.name), start.name)

    async def obtain_volume(
        self, work: Work, pod: Object, volume: ImageVolume, container: Object
    ) -> Image | None:
        """Find or pull the image of a volume for a container that mounts it; None, and a waiting reason, as above."""
        wanted = volume.wanted_by(container)
        try:
            image = find_image(self._parts.images, wanted)
        except StepError:
            image = None  # told of below
        if image is None or not self._is_free(wanted, image):
            return await self._obtain(work, pod, wanted, volume.key)
        forget_failures(self._parts.memory(uid_of(pod)), volume.key, container["name"])
        self._tell_found(pod, wanted)
        return image

    async def _obtain(self, work: Work, pod: Object, container: Object, key: str) -> Image | None:
        memory, now = self._parts.memory(uid_of(pod)), self._parts.clock.now()
        try:
            image = await self._find_held(pod, container)
            if image is not None:
                forget_failures(memory, key, container["name"])
                self._tell_found(pod, container)
                return image
            if now < memory.image_retry.get(key, 0.0):
                self._tell_backoff(pod, container, memory, key)
                return None
            await self._pull(work, pod, container)
            image = find_image(self._parts.images, container)
        except StepError as error:
            self._tell_failure(pod, container, error, key)
            return None
        if image is not None:
            forget_failures(memory, key, container["name"])
        return image

    def _is_free(self, container: Object, image: Image) -> bool:
        """Whether an image can be used as it is here, by any Pod."""
        parts, reference = self._parts, str(container["image"])
        if must_pull(parts.images, container, image):
            return False
        return is_made_here(parts.images, reference, image) or parts.pull_records.is_open(
            reference, image.manifest_digest
        )

    async def _find_held(self, pod: Object, container: Object) -> Image | None:
        """Return an image that others' credentials brought here, if this Pod has them too. StepError."""
        image = find_image(self._parts.images, container)
        if image is None or must_pull(self._parts.images, container, image):
            return None
        reference = str(container["image"])
        secrets = [each for each, _ in await self._secrets(pod, reference)]
        if self._parts.pull_records.admits(reference, image.manifest_digest, secrets):
            return image
        if pull_policy(container) == "Never":
            raise not_present(reference)  # that it is here is not for this Pod to know
        return None

    async def _pull(self, work: Work, pod: Object, container: Object) -> None:
        """Pull, unless the Pod is killed meanwhile. StepError ErrImagePull."""
        parts, reference = self._parts, str(container["image"])
        parts.event(pod, "Normal", "Pulling", f'Pulling image "{reference}"', container["name"])
        parts.report(pod)
        began = parts.clock.now()
        secrets = await self._secrets(pod, reference)
        keyring = tuple(entry for _, entry in secrets)
        await asyncio.to_thread(parts.pull_records.intend, reference)
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
            size, credential = pulling.result()
        except PullFailure as failure:
            await asyncio.to_thread(parts.pull_records.failed, reference)
            raise StepError("ErrImagePull", str(failure)) from None
        await self._record(
            reference, [each for each, _ in secrets if each.credential == credential]
        )
        took = format_duration(round(parts.clock.now() - began, 3))
        message = f'Successfully pulled image "{reference}" in {took} ({took} including waiting)'
        message += f". Image size: {size} bytes."
        parts.event(pod, "Normal", "Pulled", message, container["name"])

    async def _record(self, reference: str, secrets: list[PullSecret]) -> None:
        image = self._parts.images.resolve(reference)
        if image is not None:
            digest = image.manifest_digest
            await asyncio.to_thread(self._parts.pull_records.pulled, reference, digest, secrets)

    async def _secrets(
        self, pod: Object, reference: str
    ) -> list[tuple[PullSecret, tuple[str, Credential]]]:
        """Return what `imagePullSecrets` give for an image, the most fitting first."""
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
        wanted = parse_reference(reference)
        return [
            (PullSecret(*secret, fingerprint(each)), (wanted.domain, each))
            for each in select(merge([keyring for _, keyring in found]), wanted)
            for secret, keyring in found
            if each in select(keyring, wanted)
        ]

    async def _read_secret(self, pod: Object, name: str) -> tuple[tuple[str, str, str], Keyring]:
        """Return which Secret it is, and its credentials. ImageError, StatusError."""
        namespace = pod["metadata"]["namespace"]
        secret = await self._parts.client.get("secrets", namespace, name)
        key, legacy = _AUTH_KEYS.get(secret.get("type", ""), ("", False))
        data = (secret.get("data") or {}).get(key)
        if not data:
            raise ImageError(f'Secret "{name}" holds no credentials of registries')
        import base64

        keyring = parse_auths(base64.b64decode(data), f'Secret "{name}"', legacy=legacy)
        return (namespace, name, secret["metadata"].get("uid", "")), keyring

    # -- telling ---------------------------------------------------------------------------------

    def _tell_found(self, pod: Object, container: Object) -> None:
        message = found_message(container)
        self._parts.event(pod, "Normal", "Pulled", message, container["name"])

    def _tell_backoff(self, pod: Object, container: Object, memory: Memory, key: str) -> None:
        name, image = container["name"], container["image"]
        detail = memory.image_errors.get(key, "")
        waiting = Waiting("ImagePullBackOff", f'Back-off pulling image "{image}": {detail}')
        if memory.waiting.get(name) != waiting:
            memory.waiting[name] = waiting
            event = self._parts.event
            event(pod, "Normal", "BackOff", f'Back-off pulling image "{image}"', name)
            event(pod, "Warning", "Failed", "Error: ImagePullBackOff", name)

    def _tell_failure(self, pod: Object, container: Object, error: StepError, key: str) -> None:
        """Tell why there is no image, and when the next look is due."""
        name, settings = container["name"], self._parts.backoffs.settings
        memory = self._parts.memory(uid_of(pod))
        tries = memory.image_tries[key] = memory.image_tries.get(key, 0) + 1
        delay = min(settings.base * 2 ** (tries - 1), settings.limit)
        memory.image_retry[key] = self._parts.clock.now() + delay
        memory.image_errors[key] = f"{error.reason}: {error.message}"
        if memory.waiting.get(name) == Waiting(error.reason, error.message):
            return
        memory.waiting[name] = Waiting(error.reason, error.message)
        reason, told = _INSPECT_REASONS.get(error.reason, "Failed"), error.message
        if error.reason == "ErrImagePull":  # in the Event alone, as upstream has it
            told = f'Failed to pull image "{container["image"]}": {told}'
        self._parts.event(pod, "Warning", reason, told, name)
        self._parts.event(pod, "Warning", "Failed", f"Error: {error.reason}", name)


def forget_failures(memory: Memory, key: str, name: str) -> None:
    """Forget earlier failures of a container's image, or of a volume's (`key`): it is there."""
    memory.image_tries.pop(key, None)
    memory.image_retry.pop(key, None)
    memory.image_errors.pop(key, None)
    memory.waiting.pop(name, None)
