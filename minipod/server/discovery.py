"""What the server can do: /api, /apis, their resources, /version; made from the registry of kinds.

In two forms: a document for each group version, and (KEP-3352) all of them in one.
"""

import platform
import sys
from typing import Any

from minipod.api import kinds
from minipod.api.kind import Kind
from minipod.client import Object
from minipod.server.wire import encode

GIT_VERSION = "v1.36.0+minipod"


def discover(path: str) -> Object | None:
    """Return the discovery document at `path`, None when there is none."""
    match path.strip("/").split("/"):
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["apis"]:
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": _groups()}
        case ["api", version]:
            return _resources("", version)
        case ["apis", group]:
            found = [each for each in _groups() if each["name"] == group]
            return {"kind": "APIGroup", "apiVersion": "v1", **found[0]} if found else None
        case ["apis", group, version]:
            return _resources(group, version)
        case [
            "apis",
            "apiextensions.k8s.io" as group,
            "v1" as version,
            "customresourcedefinitions",
        ]:
            listed = {"kind": "CustomResourceDefinitionList", "apiVersion": f"{group}/{version}"}
            return {**listed, "metadata": {"resourceVersion": "1"}, "items": []}
        case ["version"]:
            return _version()
        case ["openapi", "v3", *rest]:
            from minipod.server import openapi  # large, and asked for by few

            return openapi.document("/".join(rest)) if rest else openapi.index()
        case [""]:
            return {"paths": _paths()}
    return None


def discover_encoded(path: str) -> bytes | None:
    """Return the encoded discovery document."""
    found = discover(path)
    return None if found is None else encode(found)


def aggregated(version: str, *, core: bool) -> Object:
    """Return an APIGroupDiscoveryList: of the core group, or of all named ones."""
    found: dict[str, dict[str, list[Kind]]] = {}
    for kind in kinds.all_kinds():
        if bool(kind.group) is not core:
            found.setdefault(kind.group, {}).setdefault(kind.version, []).append(kind)
    items = [
        {
            "metadata": {"name": group, "creationTimestamp": None} if group else {},
            "versions": [
                {
                    "version": each,
                    "resources": [
                        _aggregated_resource(kind)
                        for kind in sorted(served, key=lambda kind: kind.plural)
                    ],
                    "freshness": "Current",
                }
                for each, served in versions.items()
            ],
        }
        for group, versions in sorted(found.items())
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": items,
    }


def _aggregated_resource(kind: Kind) -> Object:
    made: Object = {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular_name,
        "verbs": sorted(kind.verbs),
    }
    if kind.short_names:
        made["shortNames"] = list(kind.short_names)
    if kind.categories:
        made["categories"] = list(kind.categories)
    if kind.subresources:
        made["subresources"] = [
            {
                "subresource": each.name,
                "responseKind": {
                    "group": each.group or kind.group,
                    "version": each.version or kind.version,
                    "kind": each.kind,
                },
                "verbs": sorted(each.verbs),
            }
            for each in sorted(kind.subresources, key=lambda sub: sub.name)
        ]
    return made


def _groups() -> list[Object]:
    versions: dict[str, list[str]] = {}
    for kind in kinds.all_kinds():
        if kind.group and kind.version not in versions.setdefault(kind.group, []):
            versions[kind.group].append(kind.version)
    return [_group(name, found) for name, found in sorted(versions.items())]


def _group(name: str, versions: list[str]) -> Object:
    known = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": known, "preferredVersion": known[0]}


def _resources(group: str, version: str) -> Object | None:
    found = [each for each in kinds.all_kinds() if (each.group, each.version) == (group, version)]
    if not found:
        return None
    listed: list[Object] = []
    for kind in sorted(found, key=lambda each: each.plural):
        listed.append(_resource(kind))
        listed += _subresources(kind)
    name = f"{group}/{version}" if group else version
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": name,
        "resources": listed,
    }


def _resource(kind: Kind) -> Object:
    made: Object = {
        "name": kind.plural,
        "singularName": kind.singular_name,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": sorted(kind.verbs),
    }
    if kind.short_names:
        made["shortNames"] = list(kind.short_names)
    if kind.categories:
        made["categories"] = list(kind.categories)
    return made


def _subresources(kind: Kind) -> list[Object]:
    made = []
    for each in sorted(kind.subresources, key=lambda sub: sub.name):
        entry: dict[str, Any] = {
            "name": f"{kind.plural}/{each.name}",
            "singularName": "",
            "namespaced": kind.namespaced,
            "kind": each.kind,
            "verbs": sorted(each.verbs),
        }
        if each.version:
            entry |= {"group": each.group, "version": each.version}
        made.append(entry)
    return made


def _paths() -> list[str]:
    found = {
        "/api",
        "/api/v1",
        "/apis",
        "/healthz",
        "/livez",
        "/openapi/v2",
        "/openapi/v3",
        "/readyz",
        "/version",
    }
    for kind in kinds.all_kinds():
        if kind.group:
            found |= {f"/apis/{kind.group}", f"/apis/{kind.group}/{kind.version}"}
    return sorted(found)


def _version() -> Object:
    major, minor = GIT_VERSION[1:].split(".")[:2]
    python = ".".join(map(str, sys.version_info[:3]))
    return {
        "major": major,
        "minor": minor,
        "emulationMajor": major,
        "emulationMinor": minor,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": str(int(minor) - 1),
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"python{python}",
        "compiler": sys.implementation.name,
        "platform": f"{platform.system().lower()}/{_architecture()}",
    }


def _architecture() -> str:
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
