"""`plan`: the script that would make a Pod, rendered from the very operations that would run. Touches nothing.

What only the real thing knows (the address that will be free, the UID) is chosen here as it would be next. Values of
Secrets are not shown: a script is made to be read, kept and passed on.
"""

import base64
import uuid
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Interface, IPv4Network

from minipod.client import Object
from minipod.node.env_files import placeholders
from minipod.node.environment import References, compute_environment
from minipod.node.errors import StepError
from minipod.node.hosts import Names, compute_names
from minipod.node.image_volumes import (
    compute_image_mount,
    find_image_volumes,
    image_volume_place,
)
from minipod.node.images import find_image
from minipod.node.parts import Parts
from minipod.node.pods import ContainerKind, containers_of, host_network
from minipod.node.references import StandIn, fetch_references, find_keys_of, find_tokens
from minipod.node.sandbox_step import compute_files
from minipod.node.service_variables import compute_service_variables
from minipod.node.translate import (
    ContainerInputs,
    compute_container_files,
    compute_container_spec,
    compute_sandbox_spec,
)
from minipod.node.volumes import PreparedVolume, VolumePlace, compute_places, compute_volumes
from minipod.runtime.operations import Operation, Step
from minipod.runtime.plan import HostFacts, SandboxRef, compute_container_plan, compute_sandbox_plan
from minipod.runtime.spec import ContainerSpec, SandboxSpec


async def compute_script(parts: Parts, pod: Object, host: HostFacts) -> str:
    """Return the commented shell script. StepError when the Pod could not be made (a missing image...)."""
    from minipod.runtime.render import render

    pod = _complete(parts, pod)
    names = compute_names(pod, parts.config.cluster_domain, parts.config.node_name)
    address = "" if host_network(pod) else _next_address(parts, pod)
    sandbox = compute_sandbox_spec(
        *(pod, 0, names, address, parts.config, parts.profiles.compile),
        cgroups=parts.runtime.pod_cgroups,
    )
    steps = list(_file_steps(parts, pod, address, names))
    references = hide_secrets(await fetch_references(parts.client, pod, _stand_ins(pod)))
    tokens = dict.fromkeys(find_tokens(pod), "<token of the service account>")
    services = compute_service_variables(pod, parts.services)
    allocatable = parts.allocatable
    references = replace(references, tokens=tokens, services=services, allocatable=allocatable)
    directory = parts.config.pod_directory(pod["metadata"]["uid"])
    volumes = compute_volumes(pod, directory, references)
    volumes |= _image_volumes(parts, pod)
    for volume in volumes.values():
        steps += _steps(volume.operations, f'volume "{volume.name}"')
    steps += compute_sandbox_plan(sandbox, host)
    view = _with_address(parts, pod, address)
    for kind, container in containers_of(pod):
        image = find_image(parts.images, container)
        if image is None:
            raise _not_here(container["image"])
        inputs = ContainerInputs(
            kind=kind,
            attempt=0,
            image=image,
            environment=compute_environment(
                view, container, image.config.env, references, placeholders(container)
            ),
            volumes=compute_places(pod, directory),
            hostname=names.hostname,
        )
        spec = compute_container_spec(
            pod, container, inputs, parts.config, sandbox.id, parts.profiles.compile
        )
        steps += _container_steps(parts, pod, kind, spec, sandbox, host)
    metadata = pod["metadata"]
    return render(steps, title=f"The plan of Pod {metadata['namespace']}/{metadata['name']}")


def _stand_ins(pod: Object) -> StandIn:
    """Return what stands for objects that a node may read only for Pods of its own."""

    def stand_in(resource: str, name: str) -> Object:
        """Return an object with the keys that the Pod names."""
        keys = sorted(find_keys_of(pod, resource, name))
        values = {key: f"<{key} of {resource}/{name}>" for key in keys}
        if resource == "secrets":
            values = {k: base64.b64encode(v.encode()).decode() for k, v in values.items()}
        return {"metadata": {"name": name}, "data": values}

    return stand_in


def _image_volumes(parts: Parts, pod: Object) -> dict[str, PreparedVolume]:
    directory = parts.config.pod_directory(pod["metadata"]["uid"])
    found = {}
    for volume in find_image_volumes(pod):
        image = find_image(parts.images, volume.wanted_by({"name": volume.name}))
        if image is None:
            raise _not_here(volume.source["reference"])
        place = image_volume_place(directory, volume.name)
        mounted = (compute_image_mount(place, image),)
        found[volume.name] = PreparedVolume(
            volume.name, VolumePlace(place, read_only=True), mounted
        )
    return found


def _not_here(name: str) -> StepError:
    message = f'Image "{name}" is not here yet; bring it with "minipod image pull {name}"'
    return StepError("ErrImagePull", message)


def hide_secrets(references: References) -> References:
    """Return the references with a placeholder for each value of a Secret."""
    hidden = {
        name: secret and {**secret, "data": _placeholders(name, secret.get("data") or {})}
        for name, secret in references.secrets.items()
    }
    return replace(references, secrets=hidden)


def _placeholders(name: str, data: Object) -> Object:
    return {key: base64.b64encode(f"<{key} of secret {name}>".encode()).decode() for key in data}


def _complete(parts: Parts, pod: Object) -> Object:
    """Return the Pod with what the API server and the scheduler would have given it."""
    metadata = {"namespace": "default", "uid": str(uuid.uuid4()), **pod.get("metadata", {})}
    metadata.setdefault("name", metadata.get("generateName", "pod-") + "xxxxx")
    spec = {**pod.get("spec", {}), "nodeName": parts.config.node_name}
    return {**pod, "metadata": metadata, "spec": spec}


def _with_address(parts: Parts, pod: Object, address: str) -> Object:
    plain = address.partition("/")[0] or parts.config.host_ip
    return {**pod, "status": {"podIP": plain, "hostIP": parts.config.host_ip}}


def _next_address(parts: Parts, pod: Object) -> str:
    """Return the Pod's own address if it has one, else one that is free now."""
    owners = parts.addresses.owners()
    own = owners.get(pod["metadata"]["uid"])
    if own:
        return str(own)
    prefix = next((each.network.prefixlen for each in owners.values()), parts.config.network.prefix)
    network = IPv4Network(f"{parts.config.network.gateway}/{prefix}", strict=False)
    taken = {each.ip for each in owners.values()}
    first = int(network.network_address) + 2
    free = next(n for n in range(first, first + len(taken) + 1) if n not in {int(t) for t in taken})
    return str(IPv4Interface((free, prefix)))


def _file_steps(parts: Parts, pod: Object, address: str, names: Names) -> list[Step]:
    operations = compute_files(parts, pod, address, names, warn=False)
    return _steps(operations, "the Pod's directory and the files its containers share")


def _steps(operations: Sequence[Operation], comment: str) -> list[Step]:
    return [Step(each, "daemon", comment if not n else "") for n, each in enumerate(operations)]


def _container_steps(
    parts: Parts,
    pod: Object,
    kind: ContainerKind,
    spec: ContainerSpec,
    sandbox: SandboxSpec,
    host: HostFacts,
) -> list[Step]:
    name = spec.labels["io.kubernetes.container.name"]
    words = {"init": "init container", "sidecar": "sidecar", "app": "container"}[kind]
    files = compute_container_files(pod, name, 0, parts.config)
    return [
        *_steps(files, f'{words} "{name}"'),
        *compute_container_plan(spec, SandboxRef.of(sandbox), host),
    ]
