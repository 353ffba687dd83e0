"""The range of Service addresses of a root: the one it has, the one asked for, or one of its own.

It is recorded in the store, as the ServiceCIDR `kubernetes`, when the cluster is made, and never changes after.
"""

import logging
import zlib
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network

from minipod.api import kinds
from minipod.server import keys, wire
from minipod.store import Store

logger = logging.getLogger(__name__)

USUAL = "10.96.0.0/16"
_OTHERS = int(
    IPv4Address("10.97.0.0")
)  # from here on, up to 10.111.255.255, each other root has a /20


def choose_service_range(
    store: Store,
    instance: str,
    wanted: str,
    pods: str,
    barred_by: Callable[[IPv4Network], str],
) -> str:
    """Return the range. Raises ValueError for one that cannot be used; `pods` is the Pods' range.

    `instance` is "minipod" for the system's root, which has the usual range; `barred_by` names the route of the host
    that a new range would get in the way of, or nothing.
    """
    recorded = _recorded(store)
    if recorded:
        if wanted and IPv4Network(wanted) != IPv4Network(recorded):
            raise ValueError(
                f'--service-cidr "{wanted}" is not the range of this root, {recorded}, which never changes; '
                "leave it out, or choose another --root"
            )
        if route := barred_by(IPv4Network(recorded)):
            logger.warning(
                "Service range %s overlaps %s, but never changes: Services may not be reached from this host; "
                "remove the route, or choose another --root",
                recorded,
                route,
            )
        return recorded
    if wanted:
        return str(_checked(wanted, pods, barred_by))
    for chosen in _candidates(instance):
        if not chosen.overlaps(IPv4Network(pods)) and not barred_by(chosen):
            return str(chosen)
    raise ValueError(
        f"every range for Services overlaps the Pods' range {pods} or one that this host routes elsewhere; "
        "use --service-cidr"
    )


def _recorded(store: Store) -> str:
    kind = kinds.by_resource("servicecidrs.networking.k8s.io")
    entry = store.get(keys.object_key(kind, "", "kubernetes"))
    cidrs = (wire.decode(entry.value).get("spec") or {}).get("cidrs") if entry else None
    return str(cidrs[0]) if cidrs else ""


def _checked(wanted: str, pods: str, barred_by: Callable[[IPv4Network], str]) -> IPv4Network:
    try:
        network = IPv4Network(wanted)
    except ValueError as error:
        raise ValueError(f'Service range "{wanted}" is not an IPv4 network: {error}') from error
    if network.prefixlen > 28 or network.prefixlen < 12:
        raise ValueError(f'Service range "{wanted}" must be between a /12 and a /28')
    if network.overlaps(IPv4Network(pods)):
        raise ValueError(f'Service range "{wanted}" overlaps the Pods\' range {pods}')
    if route := barred_by(network):
        raise ValueError(
            f'Service range "{wanted}" overlaps {route}; choose another --service-cidr'
        )
    return network


def _candidates(instance: str) -> list[IPv4Network]:
    if instance == "minipod":
        return [IPv4Network(USUAL), IPv4Network("10.112.0.0/16")]
    ranges = [IPv4Network((_OTHERS + at * 4096, 20)) for at in range(15 * 16)]
    first = zlib.crc32(instance.encode()) % len(ranges)
    return ranges[first:] + ranges[:first]
