"""What of a request the audit log keeps: audit.k8s.io/v1 Policy, first matching rule first.

Matching as upstream's apiserver audit/policy. Without a policy file everything that changes something, and every look
at Secrets, is kept as metadata: never a value of a Secret.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from minipod.api.rbac.attributes import Attributes
from minipod.server.identity import Identity

Object = dict[str, Any]

LEVELS = ("None", "Metadata", "Request", "RequestResponse")
STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")
_FIELDS = frozenset(
    (
        *("level", "users", "userGroups", "verbs", "resources", "namespaces"),
        *("nonResourceURLs", "omitStages", "omitManagedFields"),
    )
)
DEFAULT: Object = {
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "nonResourceURLs": ["*"]},
        {"level": "Metadata", "resources": [{"group": "", "resources": ["secrets"]}]},
        {
            "level": "None",
            "verbs": ["get", "list", "watch"],
            "resources": [{"group": "", "resources": ["pods", "nodes"]}],
        },
        {"level": "Metadata", "resources": [{"group": "", "resources": ["pods/*", "nodes/*"]}]},
        {"level": "None", "verbs": ["get", "list", "watch"]},
        {"level": "Metadata"},
    ],
}


class PolicyError(ValueError):
    """The policy cannot be used; the message is one line."""


@dataclass(frozen=True)
class Verdict:
    """How much of a request is kept, at which of its stages not, and whether managedFields are left out."""

    level: str
    omit_stages: frozenset[str] = frozenset()
    omit_managed_fields: bool = False

    def keeps(self, stage: str) -> bool:
        """Whether anything is written at a stage."""
        return self.level != "None" and stage not in self.omit_stages


NOTHING = Verdict("None")


@dataclass(frozen=True)
class Policy:
    """The rules, and what holds for all of them."""

    rules: tuple[Object, ...]
    omit_stages: frozenset[str] = field(default=frozenset())
    omit_managed_fields: bool = False

    def judge(self, identity: Identity | None, asked: Attributes) -> Verdict:
        """Return what is to be kept of a request."""
        for rule in self.rules:
            if _matches(rule, identity, asked):
                omitted = self.omit_stages | set(rule.get("omitStages") or ())
                fields = rule.get("omitManagedFields")
                return Verdict(
                    rule["level"],
                    frozenset(omitted),
                    self.omit_managed_fields if fields is None else bool(fields),
                )
        return NOTHING


def read_policy(path: Path) -> Policy:
    """Read a policy file. Raises PolicyError, OSError."""
    try:
        found = yaml.load(path.read_bytes(), yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise PolicyError(f'audit policy "{path}": {" ".join(str(error).split())}') from error
    if not isinstance(found, dict) or found.get("kind") != "Policy":
        raise PolicyError(f'audit policy "{path}": it is no Policy of audit.k8s.io/v1')
    if found.get("apiVersion") != "audit.k8s.io/v1":
        raise PolicyError(f'audit policy "{path}": apiVersion must be audit.k8s.io/v1')
    try:
        return parse_policy(found)
    except PolicyError as error:
        raise PolicyError(f'audit policy "{path}": {error}') from error


def parse_policy(policy: Object) -> Policy:
    """Check a Policy object. Raises PolicyError with the field's path."""
    rules = policy.get("rules") or []
    _check_stages(policy.get("omitStages"), "omitStages")
    for index, rule in enumerate(rules):
        _check_rule(rule, f"rules[{index}]")
    return Policy(
        tuple(rules),
        frozenset(policy.get("omitStages") or ()),
        bool(policy.get("omitManagedFields")),
    )


def _check_rule(rule: Any, path: str) -> None:
    if not isinstance(rule, dict):
        raise PolicyError(f"{path}: must be an object")
    if unknown := sorted(set(rule) - _FIELDS):
        raise PolicyError(f'{path}: unknown field "{unknown[0]}"')
    if rule.get("level") not in LEVELS:
        raise PolicyError(f'{path}.level: "{rule.get("level")}" is none of {", ".join(LEVELS)}')
    if rule.get("nonResourceURLs") and (rule.get("resources") or rule.get("namespaces")):
        raise PolicyError(f"{path}.nonResourceURLs: rules cannot apply to both resources and URLs")
    _check_stages(rule.get("omitStages"), f"{path}.omitStages")
    for number, group in enumerate(rule.get("resources") or ()):
        if not isinstance(group, dict):
            raise PolicyError(f"{path}.resources[{number}]: must be an object")
        if group.get("resourceNames") and not group.get("resources"):
            raise PolicyError(
                f"{path}.resources[{number}].resourceNames: using resourceNames requires resources"
            )


def _check_stages(stages: Any, path: str) -> None:
    for stage in stages or ():
        if stage not in STAGES:
            raise PolicyError(f'{path}: "{stage}" is none of {", ".join(STAGES)}')


def _matches(rule: Object, identity: Identity | None, asked: Attributes) -> bool:
    user, groups = (identity.user, identity.groups) if identity else ("", ())
    if rule.get("users") and user not in rule["users"]:
        return False
    if rule.get("userGroups") and not set(rule["userGroups"]) & set(groups):
        return False
    if rule.get("verbs") and asked.verb not in rule["verbs"]:
        return False
    if rule.get("resources") or rule.get("namespaces"):
        return not asked.path and _matches_resource(rule, asked)
    if rule.get("nonResourceURLs"):
        return bool(asked.path) and _matches_path(rule["nonResourceURLs"], asked.path)
    return True


def _matches_resource(rule: Object, asked: Attributes) -> bool:
    if rule.get("namespaces") and asked.namespace not in rule["namespaces"]:
        return False
    groups = rule.get("resources") or ()
    return not groups or any(_matches_group(group, asked) for group in groups)


def _matches_group(group: Object, asked: Attributes) -> bool:
    if (group.get("group") or "") != asked.group:
        return False
    names = group.get("resourceNames")
    if names and asked.name not in names:
        return False
    resources = group.get("resources") or ("*",)
    accepted = {"*", asked.combined_resource}
    if asked.subresource:
        accepted |= {f"{asked.resource}/*", f"*/{asked.subresource}"}
    return bool(accepted & set(resources))


def _matches_path(urls: Sequence[str], path: str) -> bool:
    return any(path == url or (url.endswith("*") and path.startswith(url[:-1])) for url in urls)
