"""Where objects live in the store: `/pods/default/nginx`, `/nodes/one`, `/deployments.apps/default/web`."""

from minipod.api.kind import Kind


def object_key(kind: Kind, namespace: str, name: str) -> str:
    """Return the key of one object."""
    if kind.namespaced:
        return f"/{kind.stored_resource}/{namespace}/{name}"
    return f"/{kind.stored_resource}/{name}"


def prefix(kind: Kind, namespace: str) -> str:
    """Return the prefix of a kind's objects, in one namespace or ("") in all."""
    if kind.namespaced and namespace:
        return f"/{kind.stored_resource}/{namespace}/"
    return f"/{kind.stored_resource}/"
