"""`minipod create role|clusterrole|rolebinding|clusterrolebinding|token`: who may do what."""

from typing import Any

import click

from minipod.cli import options as flags
from minipod.cli.api import warn
from minipod.cli.creating import CreateOptions, make
from minipod.cli.errors import CliError
from minipod.cli.invocation import Invocation
from minipod.cli.resources import SERVICEACCOUNTS, Resource, find

Object = dict[str, Any]
RBAC = "rbac.authorization.k8s.io"
ROLES = Resource("roles", "role", "Role", group=RBAC)
CLUSTER_ROLES = Resource("clusterroles", "clusterrole", "ClusterRole", group=RBAC, namespaced=False)
ROLE_BINDINGS = Resource("rolebindings", "rolebinding", "RoleBinding", group=RBAC)
CLUSTER_ROLE_BINDINGS = Resource(
    "clusterrolebindings", "clusterrolebinding", "ClusterRoleBinding", group=RBAC, namespaced=False
)


def _rule_flags(function: Any) -> Any:
    for option in (
        click.option(
            "--resource-name", "names", multiple=True, metavar="NAME", help="Only these objects"
        ),
        click.option(
            "--resource",
            "resources",
            multiple=True,
            metavar="TYPE[.GROUP][/SUBRESOURCE]",
            help="What it is allowed on; several times, or separated by commas",
        ),
        click.option(
            "--verb",
            "verbs",
            multiple=True,
            metavar="VERB",
            help="What is allowed; several times, or separated by commas",
        ),
    ):
        function = option(function)
    return function


def _subject_flags(function: Any) -> Any:
    for option in (
        click.option(
            "--serviceaccount",
            "accounts",
            multiple=True,
            metavar="NAMESPACE:NAME",
            help="For this service account",
        ),
        click.option("--group", "groups", multiple=True, metavar="NAME", help="For this group"),
        click.option("--user", "users", multiple=True, metavar="NAME", help="For this user"),
    ):
        function = option(function)
    return function


@flags.command(
    name="role",
    examples="""
    minipod create role reader --verb=get,list,watch --resource=pods,pods/log
    minipod create role one --verb=get --resource=configmaps --resource-name=settings
    """,
)
@click.argument("name")
@_rule_flags
@flags.dry_run
@flags.output
@flags.pass_invocation
def role_command(invocation: Invocation, name: str, **given: Any) -> None:
    """Create a Role: what is allowed in a namespace."""
    rules = _resource_rules(invocation, *(given.pop(each) for each in _RULE))
    make(invocation, ROLES, name, CreateOptions(**given), rules=rules)


@flags.command(
    name="clusterrole",
    examples="""
    minipod create clusterrole reader --verb=get,list --resource=nodes
    minipod create clusterrole scraper --verb=get --non-resource-url=/metrics
    minipod create clusterrole monitoring --aggregation-rule=lab/aggregate=true
    """,
)
@click.argument("name")
@_rule_flags
@click.option(
    "--non-resource-url", "urls", multiple=True, metavar="PATH", help="A path that is no object's"
)
@click.option(
    "--aggregation-rule",
    "labels",
    multiple=True,
    metavar="KEY=VALUE",
    help="Take over the rules of all ClusterRoles with these labels",
)
@flags.dry_run
@flags.output
@flags.pass_invocation
def clusterrole_command(
    invocation: Invocation,
    name: str,
    urls: tuple[str, ...],
    labels: tuple[str, ...],
    **given: Any,
) -> None:
    """Create a ClusterRole: what is allowed in all namespaces, or to whom a RoleBinding gives it in one."""
    verbs, resources, names = (given.pop(each) for each in _RULE)
    fields: Object = {"rules": []}
    if labels:
        if verbs or resources or urls:
            raise CliError("aggregation rule must be specified without verbs, resources and URLs")
        matched = dict(_assignment(each, "--aggregation-rule") for each in _each(labels))
        fields["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": matched}]}
    elif urls and not resources:
        fields["rules"] = [{"verbs": _verbs(verbs), "nonResourceURLs": _each(urls)}]
    else:
        fields["rules"] = _resource_rules(invocation, verbs, resources, names)
        if urls:
            fields["rules"].append({"verbs": _verbs(verbs), "nonResourceURLs": _each(urls)})
    make(invocation, CLUSTER_ROLES, name, CreateOptions(**given), **fields)


@flags.command(
    name="rolebinding",
    examples="""
    minipod create rolebinding readers --clusterrole=view --serviceaccount=default:builder
    minipod create rolebinding readers --role=reader --user=jane --group=lab
    """,
)
@click.argument("name")
@click.option("--role", default="", metavar="NAME", help="The Role of the namespace to give")
@click.option("--clusterrole", default="", metavar="NAME", help="The ClusterRole to give")
@_subject_flags
@flags.dry_run
@flags.output
@flags.pass_invocation
def rolebinding_command(
    invocation: Invocation, name: str, role: str, clusterrole: str, **given: Any
) -> None:
    """Give a Role or a ClusterRole to users, groups or service accounts, in one namespace."""
    if bool(role) == bool(clusterrole):
        raise CliError("exactly one of clusterrole or role must be specified")
    reference = _reference("Role" if role else "ClusterRole", role or clusterrole)
    subjects = _subjects(*(given.pop(each) for each in _SUBJECTS))
    fields: Object = {"roleRef": reference, "subjects": subjects}
    make(invocation, ROLE_BINDINGS, name, CreateOptions(**given), **fields)


@flags.command(
    name="clusterrolebinding",
    examples="""
    minipod create clusterrolebinding admins --clusterrole=cluster-admin --user=jane
    """,
)
@click.argument("name")
@click.option("--clusterrole", required=True, metavar="NAME", help="The ClusterRole to give")
@_subject_flags
@flags.dry_run
@flags.output
@flags.pass_invocation
def clusterrolebinding_command(
    invocation: Invocation, name: str, clusterrole: str, **given: Any
) -> None:
    """Give a ClusterRole to users, groups or service accounts, in all namespaces."""
    subjects = _subjects(*(given.pop(each) for each in _SUBJECTS))
    fields: Object = {"roleRef": _reference("ClusterRole", clusterrole), "subjects": subjects}
    make(invocation, CLUSTER_ROLE_BINDINGS, name, CreateOptions(**given), **fields)


@flags.command(
    name="token",
    examples="""
    minipod create token builder
    minipod create token builder --duration=10m --audience=vault
    """,
)
@click.argument("account")
@click.option("--audience", "audiences", multiple=True, metavar="NAME", help="Whom it is for")
@click.option(
    "--duration", type=flags.Duration(), default="0s", help="How long it is valid [default: 1h]"
)
@click.option(
    "--bound-object-kind",
    "kind",
    default="",
    type=flags.Words("Pod", "Secret", "Node"),
    help="Void when this goes",
)
@click.option("--bound-object-name", "bound_name", default="", metavar="NAME", help="Its name")
@click.option("--bound-object-uid", "bound_uid", default="", metavar="UID", help="Its UID")
@flags.output
@flags.pass_invocation
def token_command(
    invocation: Invocation,
    account: str,
    audiences: tuple[str, ...],
    duration: float,
    output: str,
    **bound: str,
) -> None:
    """Print a token with which a service account speaks to the API."""
    spec: Object = {"audiences": list(audiences)} if audiences else {}
    if duration:
        spec["expirationSeconds"] = int(duration)
    reference = _bound(**bound)
    if reference:
        spec["boundObjectRef"] = reference
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    path = SERVICEACCOUNTS.path(invocation.namespace, account, "token")
    found = invocation.api.call("POST", path, None, body)
    if output:
        from minipod.cli.formats import printer

        click.echo(printer(output)(found), nl=False)
    else:
        print(found["status"]["token"])


COMMANDS = (
    role_command,
    clusterrole_command,
    rolebinding_command,
    clusterrolebinding_command,
    token_command,
)
_RULE = ("verbs", "resources", "names")
_SUBJECTS = ("users", "groups", "accounts")


def _bound(kind: str, bound_name: str, bound_uid: str) -> Object:
    if not kind:
        if bound_name or bound_uid:
            raise CliError("--bound-object-name and --bound-object-uid need --bound-object-kind")
        return {}
    if kind not in ("Pod", "Secret", "Node"):
        raise CliError("supported --bound-object-kind values are Node, Pod, Secret")
    if not bound_name:
        raise CliError("--bound-object-name is required if --bound-object-kind is provided")
    uid = {"uid": bound_uid} if bound_uid else {}
    return {"apiVersion": "v1", "kind": kind, "name": bound_name, **uid}


def _each(given: tuple[str, ...]) -> list[str]:
    """Return the values of a flag that takes commas and repetition alike, each once."""
    return list(dict.fromkeys(word for each in given for word in each.split(",") if word))


def _verbs(given: tuple[str, ...]) -> list[str]:
    verbs = _each(given)
    if not verbs:
        raise CliError("at least one verb must be specified")
    return ["*"] if "*" in verbs else verbs


def _assignment(text: str, flag: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise CliError(f'invalid {flag} "{text}": it is KEY=VALUE')
    return key, value


def _resource_rules(
    invocation: Invocation,
    verbs: tuple[str, ...],
    resources: tuple[str, ...],
    names: tuple[str, ...],
) -> list[Object]:
    """Return one rule for each API group of the resources. Raises CliError for what the server does not have."""
    allowed, wanted = _verbs(verbs), _each(resources)
    if not wanted:
        raise CliError("at least one resource must be specified")
    if names and len(wanted) > 1:
        raise CliError("when specifying a resource name, exactly one resource must be specified")
    by_group: dict[str, list[str]] = {}
    for word in wanted:
        kind, slash, subresource = word.partition("/")
        group, plural = ("*", "*") if kind == "*" else _found(invocation, kind)
        by_group.setdefault(group, []).append(f"{plural}{slash}{subresource}")
    limited = {"resourceNames": _each(names)} if names else {}
    return [
        {"apiGroups": [group], "resources": plurals, **limited, "verbs": allowed}
        for group, plurals in by_group.items()
    ]


def _found(invocation: Invocation, word: str) -> tuple[str, str]:
    resource = find(invocation.api, word)[0]
    return resource.group, resource.plural


def _reference(kind: str, name: str) -> Object:
    return {"apiGroup": RBAC, "kind": kind, "name": name}


def _subjects(
    users: tuple[str, ...], groups: tuple[str, ...], accounts: tuple[str, ...]
) -> list[Object]:
    found: list[Object] = [
        {"apiGroup": RBAC, "kind": kind, "name": name}
        for kind, names in (("User", users), ("Group", groups))
        for name in names
    ]
    for each in accounts:
        namespace, colon, name = each.partition(":")
        if not (namespace and colon and name) or ":" in name:
            raise CliError("serviceaccount must be <namespace>:<name>")
        found.append({"kind": "ServiceAccount", "name": name, "namespace": namespace})
    if not found:
        warn("nobody is given the role: name a --user, a --group or a --serviceaccount")
    return found
