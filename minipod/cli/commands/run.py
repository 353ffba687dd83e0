"""`minipod run`."""

from dataclasses import dataclass
from typing import Any

import click

from minipod.cli import options as flags
from minipod.cli.errors import CliError, SilentExit
from minipod.cli.invocation import Invocation
from minipod.cli.printing import dry_run_query, report
from minipod.cli.resources import PODS
from minipod.cli.selection import Target
from minipod.cli.waiting import Deadline, TimedOut, wait_for

Object = dict[str, Any]


@dataclass(frozen=True)
class RunOptions:
    """The flags of `run`."""

    name: str
    arguments: tuple[str, ...]
    image: str
    stdin: bool
    tty: bool
    attach: bool
    rm: bool
    restart: str
    env: tuple[str, ...]
    labels: str
    port: int
    image_pull_policy: str
    command: bool
    privileged: bool
    quiet: bool
    pod_running_timeout: float
    dry_run: str
    output: str

    def check(self) -> None:
        """Raise CliError when flags contradict each other."""
        if not self.image:
            raise CliError('required flag(s) "image" not set')
        if self.restart not in ("Always", "OnFailure", "Never"):
            raise CliError(f"invalid restart policy: {self.restart}")
        if self.tty and not self.stdin:
            raise CliError("-i/--stdin is required for containers with -t/--tty=true")
        if self.rm and not self.attached:
            raise CliError("--rm should only be used for attached containers")
        if self.attached and self.dry_run != "none":
            raise CliError(
                "--dry-run=client|server can't be used with attached containers options (--attach, --stdin, or --tty)"
            )

    @property
    def attached(self) -> bool:
        """Whether to attach to the container; -i means it too."""
        return self.attach or self.stdin


@flags.command(
    after_dashes=True,
    examples="""
    minipod run nginx --image=nginx
    minipod run shell -it --rm --image=busybox --restart=Never -- sh
    minipod run hello --image=busybox --restart=Never --env=NAME=you -- sh -c 'echo hello $NAME'
    minipod run nginx --image=nginx --dry-run=client -o yaml
    """,
)
@click.argument("name")
@click.argument("arguments", nargs=-1, metavar="[-- ARG...]")
@click.option("--image", default="", help="The image to run")
@flags.flag("-i", "--stdin", help="Keep the container's standard input open, and attach to it")
@flags.flag("-t", "--tty", help="Give the container a terminal")
@flags.flag("--attach", help="Wait until the Pod runs, then attach to it")
@flags.flag("--rm", help="Delete the Pod when the attached program has ended")
@click.option(
    "--restart",
    default="Always",
    type=flags.Words("Always", "OnFailure", "Never"),
    help="[default: Always]",
)
@click.option("--env", multiple=True, metavar="KEY=VALUE", help="A variable; several times")
@click.option("-l", "--labels", default="", metavar="KEY=VALUE,...", help="Labels besides run=NAME")
@click.option("--port", type=int, default=0, help="The port the container listens on")
@click.option(
    "--image-pull-policy",
    default="",
    type=flags.Words("Always", "IfNotPresent", "Never"),
    help="When to ask a registry",
)
@flags.flag("--command", help="What follows -- replaces the image's entrypoint, not its arguments")
@flags.flag("--privileged", help="Run in privileged mode")
@flags.flag("-q", "--quiet", help="Print only what the container prints")
@click.option(
    "--pod-running-timeout",
    type=flags.Duration(),
    default="1m",
    help="How long to wait until it runs",
)
@flags.dry_run
@flags.output
@flags.pass_invocation
def command(invocation: Invocation, **given: Any) -> None:
    """Run one image in a Pod of its own; with -it as if it were a local command."""
    behind = flags.command_after_dashes() or []
    options = RunOptions(**{**given, "arguments": (*given["arguments"], *behind)})
    options.check()
    pod = compute_pod(options, invocation.namespace)
    target = Target(PODS, invocation.namespace, options.name, object=pod)
    if options.dry_run != "client":
        query = {"fieldManager": "kubectl-run", **dry_run_query(options.dry_run)}
        pod = invocation.api.create(PODS, invocation.namespace, pod, query)
    if not options.attached:
        report(target, "created", options.dry_run, options.output, pod)
        return
    try:
        _attach(invocation, target, pod, options)
    finally:
        if options.rm:
            _remove(invocation, target, options)


def compute_pod(options: RunOptions, namespace: str) -> Object:
    """Return the Pod that the command line describes. Raises CliError."""
    container: Object = {"image": options.image, "name": options.name, "resources": {}}
    if options.arguments:
        container["command" if options.command else "args"] = list(options.arguments)
    if options.env:
        container["env"] = [_variable(each) for each in options.env]
    if options.port:
        container["ports"] = [{"containerPort": options.port}]
    if options.image_pull_policy:
        container["imagePullPolicy"] = options.image_pull_policy
    if options.privileged:
        container["securityContext"] = {"privileged": True}
    if options.stdin:
        container.update(stdin=True, stdinOnce=options.attached)
    if options.tty:
        container["tty"] = True
    labels = dict(_label(each) for each in options.labels.split(",") if each) or {
        "run": options.name
    }
    spec = {
        "containers": [container],
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": options.restart,
    }
    metadata = {"labels": labels, "name": options.name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _variable(text: str) -> Object:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise CliError(f"invalid env: {text}, expected KEY=VALUE")
    return {"name": name, "value": value}


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise CliError(f"unexpected label spec: {text}, expected KEY=VALUE")
    return key, value


def _attach(invocation: Invocation, target: Target, pod: Object, options: RunOptions) -> None:
    from minipod.cli.commands.attach import attach_or_print_log, print_log

    deadline = Deadline(options.pod_running_timeout)
    since = pod["metadata"].get("resourceVersion", "")
    pod = _wait_started(invocation, target, deadline, since)
    container = pod["spec"]["containers"][0]
    if not options.stdin:
        print_log(
            invocation, target, {"follow": "true"}
        )  # nothing that came before is lost, unlike with attach
    elif _terminated(pod) is None:
        attach_or_print_log(
            invocation,
            target,
            container,
            stdin=options.stdin,
            tty=options.tty,
            quiet=options.quiet,
        )
    else:
        print_log(invocation, target, {})
    if options.restart != "Always":
        _pass_exit_code(invocation, target)


def _wait_started(invocation: Invocation, target: Target, deadline: Deadline, since: str) -> Object:
    """Return the Pod once it runs or has run. Raises TimedOut with what it was waiting for last."""
    from minipod.cli.readiness import compute_waiting

    waits = "it never appeared"

    def started(pod: Object | None) -> Object | None:
        nonlocal waits
        if pod is None:
            raise CliError("the Pod was deleted before it ran")
        waits = compute_waiting(pod)
        phase = (pod.get("status") or {}).get("phase")
        return pod if phase in ("Running", "Succeeded", "Failed") else None

    try:
        return wait_for(invocation.api, target, started, deadline, since=since)
    except TimedOut as late:
        raise TimedOut(f"timed out waiting for {target.label}: {waits}") from late


def _terminated(pod: Object) -> Object | None:
    """Return how a finished Pod's container has ended, or None while it runs."""
    for each in (pod.get("status") or {}).get("containerStatuses") or []:
        ended: Object | None = (each.get("state") or {}).get("terminated")
        if ended:
            return ended
    return None


def _pass_exit_code(invocation: Invocation, target: Target) -> None:
    from minipod.cli.commands.attach import check_started

    ended = wait_for(
        invocation.api, target, lambda pod: {} if pod is None else _terminated(pod), Deadline(30)
    )
    code = int(ended.get("exitCode", 0))
    check_started(target.name, ended, code)
    if code:
        raise SilentExit(code)


def _remove(invocation: Invocation, target: Target, options: RunOptions) -> None:
    from minipod.cli.terminal import progress

    body: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
    invocation.api.delete(PODS, target.namespace, target.name, body)
    if not options.quiet:
        progress(f'pod "{target.name}" deleted from {target.namespace} namespace')
    wait_for(invocation.api, target, lambda pod: True if pod is None else None, Deadline(60))
