"""What every form of `create` does: its flags, the request, the report."""

from dataclasses import dataclass
from typing import Any

from minipod.cli.errors import CliError, ServerError
from minipod.cli.invocation import Invocation
from minipod.cli.printing import dry_run_query, report
from minipod.cli.resources import Resource
from minipod.cli.selection import Target

Object = dict[str, Any]
MANAGER = "kubectl-create"
_TOLD_BY_THE_SERVER = (
    "Namespace",
    "Role",
    "ClusterRole",
)  # kubectl adds nothing to what is said of these


@dataclass(frozen=True)
class CreateOptions:
    """The flags of `create` and of everything below it."""

    dry_run: str
    output: str
    validate: str = "strict"
    save_config: bool = False

    def query(self) -> dict[str, str]:
        """Return the query parameters of the request."""
        validation = {"true": "Strict", "strict": "Strict", "warn": "Warn"}.get(
            self.validate, "Ignore"
        )
        return {
            "fieldManager": MANAGER,
            "fieldValidation": validation,
            **dry_run_query(self.dry_run),
        }


def create(invocation: Invocation, target: Target, options: CreateOptions) -> Object:
    """Create one object and report it. Raises ServerError."""
    obj = target.object or {}
    if options.save_config:
        from minipod.cli.commands.apply import with_annotation

        obj = with_annotation(obj)
    if options.dry_run != "client":
        obj = invocation.api.create(target.resource, target.namespace, obj, options.query())
    name = str(obj["metadata"].get("name") or "")
    report(
        Target(target.resource, target.namespace, name),
        "created",
        options.dry_run,
        options.output,
        obj,
    )
    return obj


def make(
    invocation: Invocation,
    resource: Resource,
    name: str,
    options: CreateOptions,
    labels: Object | None = None,
    **fields: Any,
) -> None:
    """Create an object that the command line describes, and report it. Raises CliError."""
    namespace = invocation.namespace if resource.namespaced else ""
    metadata: Object = {"name": name, **({"labels": labels} if labels else {})}
    if namespace and (invocation.given_namespace or options.dry_run != "client"):
        metadata["namespace"] = namespace
    obj = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": metadata,
        **fields,
    }
    try:
        create(invocation, Target(resource, namespace, name, object=obj), options)
    except ServerError as failed:
        if failed.reason == "Invalid" or resource.kind in _TOLD_BY_THE_SERVER:
            raise
        raise CliError(f"failed to create {resource.kind.lower()}: {failed.message}") from failed
