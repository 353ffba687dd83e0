"""`python -m minipod.runtime.shim [--root DIR] [--replace]`: be the shim of one root.

A service manager runs it in the foreground; the daemon starts it detached. With `--replace`, when a shim serves the
root already, that one upgrades itself in place and this command ends. SIGHUP: upgrade. SIGTERM: end, if no Pod runs.
"""

import contextlib
import gc
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from minipod.linux import interpreter
from minipod.linux.process import PR_SET_CHILD_SUBREAPER, prctl
from minipod.paths import Layout, layout
from minipod.runtime import delegation, protocol
from minipod.runtime.shim.server import AlreadyRunning, Server
from minipod.runtime.shim.upgrade import Upgrade, read_state, resume

OOM_SCORE_ADJ = "-999"  # as containerd's shims: nearly the last to be killed


def main(arguments: Sequence[str]) -> int:
    """Run a shim until it is shut down; return the exit code."""
    options = parse(arguments)
    if "--check" in options:
        read_state(int(options["--check"]))
        return 0
    root = options.get("--root", "")
    place = layout(root or None)
    if "--resume" not in options and not interpreter.is_protected():
        delegation.enter_scope(place.instance, [sys.executable, *sys.orig_argv[1:]])
    protect()
    if "--resume" not in options:
        close_inherited(int(options.get("--ready", 2)))
    server = Server(prepare(place), root)
    server.on_upgrade = Upgrade(server).begin
    if "--resume" in options:
        resume(server, read_state(int(options["--resume"])))
    else:
        try:
            problems = server.start()
        except AlreadyRunning as error:
            return replace(server.layout) if "--replace" in options else complain(f"{error}")
        for problem in problems:
            complain(problem)
    notify_ready(int(options.get("--ready", -1)))
    gc.collect()
    gc.freeze()  # what is here by now stays: children share its pages
    server.run()
    return 0


def protect() -> None:
    """Become the same program once more, through a read-only mount: no container shall ever write to our own file."""
    if not interpreter.is_protected():
        interpreter.execute_protected([sys.executable, *sys.orig_argv[1:]], os.environ)


def parse(arguments: Sequence[str]) -> dict[str, str]:
    """Return options by name. (argparse would cost a tenth of this process's memory.) Exits on a wrong one."""
    found: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        name, _, value = rest.pop(0).partition("=")
        if name == "--replace":
            found[name] = ""
        elif name in ("--root", "--ready", "--resume", "--check") and (value or rest):
            found[name] = value or rest.pop(0)
        else:
            sys.exit(f'minipod shim: unknown option "{name}"; usage: [--root DIR] [--replace]')
    return found


def close_inherited(kept: int) -> None:
    """Close what whoever started us left open, but `kept`: we outlive them, and would hold it for ever."""
    if kept > 3:
        os.closerange(3, kept)
    os.closerange(max(kept + 1, 3), 1 << 20)


def prepare(chosen: Layout) -> Layout:
    """Ensure directories and this process's attributes."""
    os.chdir("/")
    os.umask(0o022)
    for directory, mode in ((chosen.state, 0o711), (chosen.run, 0o711), (chosen.log, 0o755)):
        os.makedirs(directory, mode=mode, exist_ok=True)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    with contextlib.suppress(OSError):  # needs CAP_SYS_RESOURCE
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE_ADJ)
    return chosen


def replace(chosen: Layout) -> int:
    """Have the running shim upgrade itself; return the exit code."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.connect(os.fspath(chosen.shim_socket))
        peer.sendall(protocol.encode({"id": 1, "verb": "upgrade"}))
        decoder = protocol.Decoder()
        while data := peer.recv(protocol.RECEIVE_BYTES):
            decoder.feed(data)
            for answer, _ in decoder.messages():
                if "error" in answer:
                    return complain(answer["error"]["message"])
                print(f"minipod shim: {answer['ok']['pid']} has upgraded itself", file=sys.stderr)
                return 0
    return complain("the running shim has closed the connection")


def complain(problem: str) -> int:
    """Say what is wrong; return the exit code for it."""
    print(f"minipod shim: {problem}", file=sys.stderr, flush=True)
    return 1


def notify_ready(descriptor: int) -> None:
    """Tell that requests are served: to a daemon by a byte in its pipe, to systemd by sd_notify(3)."""
    if descriptor >= 0:
        with contextlib.suppress(
            BrokenPipeError
        ):  # who waited may have been killed: we serve the next one
            os.write(descriptor, b"1")
        os.close(descriptor)
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
            peer.sendto(b"READY=1", address.replace("@", "\0", 1))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
