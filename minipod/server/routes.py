"""Which resource a URL names. The grammar is Kubernetes' own (k8s.io/apiserver requestinfo)."""

from dataclasses import dataclass, replace
from urllib.parse import unquote


@dataclass(frozen=True, slots=True)
class Target:
    """What a path means. `rest` is what follows `.../proxy`, undecoded, with its leading slash; "" for nothing.

    `watch` says that the path itself asks for a watch (`/api/v1/watch/...`), as old clients do.
    """

    group: str
    version: str
    resource: str  # plural, with its group where it has one
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""
    watch: bool = False

    @property
    def of_one(self) -> bool:
        """Whether it names one object rather than a collection."""
        return bool(self.name)


def parse_target(raw_path: str) -> Target | None:
    """Parse an undecoded path; None when it names no resource (discovery, health, nonsense)."""
    raw = raw_path.split("/")[1:]
    parts = [unquote(part) for part in raw]
    if parts[:1] == ["api"] and len(parts) >= 3:
        group, version, rest, skipped = "", parts[1], parts[2:], 2
    elif parts[:1] == ["apis"] and len(parts) >= 4:
        group, version, rest, skipped = parts[1], parts[2], parts[3:], 3
    else:
        return None
    if rest[-1] == "" and "proxy" not in rest:
        rest = rest[:-1]
    if not rest or any(not part or "/" in part for part in rest[:3]):
        return None
    if rest[0] == "watch" and len(rest) > 1:
        found = _within(group, version, rest[1:], raw[skipped + 1 :])
        return None if found is None or found.subresource else replace(found, watch=True)
    return _within(group, version, rest, raw[skipped:])


def _within(group: str, version: str, rest: list[str], raw: list[str]) -> Target | None:
    namespace = ""
    own = not group and rest[2:3] in (["status"], ["finalize"])  # a namespace's own subresources
    if rest[0] == "namespaces" and len(rest) >= 3 and not own:
        namespace, rest, raw = rest[1], rest[2:], raw[2:]
    resource = f"{rest[0]}.{group}" if group else rest[0]
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if subresource == "proxy":
        below = "".join(f"/{part}" for part in raw[3:])
        return Target(group, version, resource, namespace, name, "proxy", below)
    if len(rest) > 3 or "" in rest:
        return None
    return Target(group, version, resource, namespace, name, subresource)
