"""Variables that tell containers of Services and of the API server (pkg/kubelet/envvars). Pure."""

from collections.abc import Iterable

from minipod.client import Object

MASTER = ("default", "kubernetes")  # told of in every namespace, whatever enableServiceLinks says


def compute_service_variables(pod: Object, services: Iterable[Object]) -> dict[str, str]:
    """Return the variables of the Pod's namespace's Services, which had to be there before the container."""
    namespace, links = pod["metadata"]["namespace"], pod["spec"].get("enableServiceLinks", True)
    found: dict[str, str] = {}
    chosen: dict[str, Object] = {}
    for each in services:
        metadata = each["metadata"]
        key = metadata["namespace"], metadata["name"]
        if key == MASTER:
            chosen.setdefault(metadata["name"], each)
        if links is not False and metadata["namespace"] == namespace:
            chosen[metadata["name"]] = each  # one's own of that name goes before the master's
    for _, each in sorted(chosen.items()):
        found |= _variables(each)
    return found


def _variables(service: Object) -> dict[str, str]:
    spec, prefix = service["spec"], _upper(service["metadata"]["name"])
    address, ports = spec.get("clusterIP"), spec.get("ports") or []
    if not address or address == "None" or not ports:
        return {}
    found = {
        f"{prefix}_SERVICE_HOST": address,
        f"{prefix}_SERVICE_PORT": str(ports[0]["port"]),
    }
    for port in ports:
        if port.get("name"):
            found[f"{prefix}_SERVICE_PORT_{_upper(port['name'])}"] = str(port["port"])
    for number, port in enumerate(ports):
        protocol = (port.get("protocol") or "TCP").lower()
        url = f"{protocol}://{_bracketed(address)}:{port['port']}"
        if not number:
            found[f"{prefix}_PORT"] = url
        link = f"{prefix}_PORT_{port['port']}_{protocol.upper()}"
        found |= {
            link: url,
            f"{link}_PROTO": protocol,
            f"{link}_PORT": str(port["port"]),
            f"{link}_ADDR": address,
        }
    return found


def _upper(name: str) -> str:
    return name.upper().replace("-", "_")


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
