"""`minipod auth`: whoami and can-i, asked of the server's own authorizer."""

from typing import Any

import click

from minipod.cli import options as flags
from minipod.cli.api import warn
from minipod.cli.errors import CliError, SilentExit
from minipod.cli.invocation import Invocation
from minipod.cli.resources import find
from minipod.cli.tables import lay_out

Object = dict[str, Any]
API = "/apis/authorization.k8s.io/v1"


@flags.group(
    examples="""
    minipod auth whoami
    minipod auth can-i list pods --as=system:serviceaccount:default:builder
    """
)
def command() -> None:
    """Ask who you are to the server, and what you, or somebody else, may do."""


@command.command(
    "whoami",
    examples="""
    minipod auth whoami
    minipod auth whoami -o yaml
    """,
)
@flags.output
@flags.pass_invocation
def whoami_command(invocation: Invocation, output: str) -> None:
    """Say whom the server takes you for."""
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    found = invocation.api.call("POST", path, None, body)
    if output:
        from minipod.cli.formats import printer

        click.echo(printer(output)(found), nl=False)
        return
    user = found["status"]["userInfo"]
    rows = [("ATTRIBUTE", "VALUE"), ("Username", user.get("username", ""))]
    if user.get("uid"):
        rows.append(("UID", user["uid"]))
    rows.append(("Groups", f"[{' '.join(user.get('groups') or [])}]"))
    for key, values in (user.get("extra") or {}).items():
        rows.append((f"Extra: {key}", f"[{' '.join(values)}]"))
    click.echo(lay_out(rows), nl=False)


@command.command(
    "can-i",
    examples="""
    minipod auth can-i create pods
    minipod auth can-i get pods --subresource=log -n lab
    minipod auth can-i list secrets --as=system:serviceaccount:default:builder
    minipod auth can-i get /metrics
    minipod auth can-i --list
    """,
)
@click.argument("args", nargs=-1, metavar="VERB [TYPE | TYPE/NAME | URL]")
@click.option("--subresource", default="", metavar="NAME", help="Such as log, exec or status")
@flags.all_namespaces
@flags.flag("--list", "list_rules", help="List everything that is allowed in the namespace")
@flags.flag("-q", "--quiet", help="Print nothing: the exit code tells")
@flags.flag("--no-headers", help="With --list: without the first line")
@click.option("--as", "user", default="", metavar="USER", help="Ask for this user")
@click.option(
    "--as-group", "groups", multiple=True, metavar="GROUP", help="Ask for a member of this group"
)
@flags.pass_invocation
def can_i_command(invocation: Invocation, args: tuple[str, ...], **given: Any) -> None:
    """Ask whether an action is allowed: `yes`, or `no` and exit code 1."""
    if given["list_rules"]:
        if args:
            raise CliError("list option must be specified with no arguments")
        _list(invocation, given)
        return
    if len(args) != 2:
        raise CliError(
            "you must specify two arguments: verb resource or verb resource/resourceName.\n"
            "See 'minipod auth can-i -h' for help and examples."
        )
    attributes = _attributes(invocation, *args, given)
    status = _review(invocation, attributes, given)
    reason = f" - {status['reason']}" if status.get("reason") and not status["allowed"] else ""
    if not given["quiet"]:
        print("yes" if status["allowed"] else f"no{reason}")
    if not status["allowed"]:
        raise SilentExit(1)


def _attributes(invocation: Invocation, verb: str, what: str, given: dict[str, Any]) -> Object:
    """Return the part of a review's spec that says what is asked for."""
    if what.startswith("/"):
        if given["subresource"]:
            raise CliError("--subresource can not be used with NonResourceURL")
        return {"nonResourceAttributes": {"verb": verb, "path": what}}
    word, _, name = what.partition("/")
    group, plural, namespaced = _resource(invocation, word)
    namespace = "" if given["all_namespaces"] or not namespaced else invocation.namespace
    if not namespaced:
        warn(f"resource '{plural}' is not namespace scoped")
    asked = {
        "verb": verb,
        "namespace": namespace,
        "group": group,
        "resource": plural,
        "subresource": given["subresource"],
        "name": name,
    }
    return {"resourceAttributes": {key: value for key, value in asked.items() if value}}


def _resource(invocation: Invocation, word: str) -> tuple[str, str, bool]:
    """Return group and plural of what was typed, and whether it lives in namespaces."""
    if word == "*":
        return "*", "*", True
    try:
        found = find(invocation.api, word)[0]
    except CliError as unknown:
        if word not in ("users", "groups"):
            warn(unknown.message)
        return "", word, True
    return found.group, found.plural, found.namespaced


def _review(invocation: Invocation, attributes: Object, given: dict[str, Any]) -> Object:
    kind = "SelfSubjectAccessReview"
    spec = dict(attributes)
    if given["user"] or given["groups"]:
        # The socket is root's: it may ask for anybody, whom a client of the network would impersonate.
        kind = "SubjectAccessReview"
        spec |= {"user": given["user"], "groups": [*given["groups"], *_groups(given["user"])]}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
    found = invocation.api.call("POST", f"{API}/{kind.lower()}s", None, body)
    status: Object = found["status"]
    return status


def _groups(user: str) -> tuple[str, ...]:
    """Return the groups that everybody, and every service account, is a member of."""
    prefix, _, account = user.partition("system:serviceaccount:")
    if prefix or ":" not in account:
        return ("system:authenticated",)
    namespace = account.partition(":")[0]
    return (
        "system:serviceaccounts",
        f"system:serviceaccounts:{namespace}",
        "system:authenticated",
    )


def _list(invocation: Invocation, given: dict[str, Any]) -> None:
    if given["user"] or given["groups"]:
        raise CliError(
            "--list tells what you may do; for others ask: minipod auth can-i VERB TYPE --as=USER"
        )
    kind = "SelfSubjectRulesReview"
    spec = {"namespace": invocation.namespace}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
    status = invocation.api.call("POST", f"{API}/{kind.lower()}s", None, body)["status"]
    rows = compute_rows(status)
    if not given["no_headers"]:
        rows.insert(0, ("Resources", "Non-Resource URLs", "Resource Names", "Verbs"))
    click.echo(lay_out(rows), nl=False)


def compute_rows(status: Object) -> list[tuple[str, ...]]:
    """Return the rows of `can-i --list`: one for each resource of each group, then one for each path."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for rule in status.get("resourceRules") or []:
        for group in rule.get("apiGroups") or [""]:
            for resource in rule.get("resources") or []:
                name = f"{resource}.{group}" if group else resource
                key = (name, "[]", _listed(rule.get("resourceNames")))
                rows[key] = [*rows.get(key, []), *rule["verbs"]]
    for rule in status.get("nonResourceRules") or []:
        for path in rule.get("nonResourceURLs") or []:
            key = ("", f"[{path}]", "[]")
            rows[key] = [*rows.get(key, []), *rule["verbs"]]
    return [(*key, _listed(list(dict.fromkeys(verbs)))) for key, verbs in rows.items()]


def _listed(values: list[str] | None) -> str:
    return f"[{' '.join(values or [])}]"
