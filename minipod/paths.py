"""Where everything lives: one root, one set of names.

Every directory, socket, bridge, nft table and cgroup that minipod makes is named from here, so that two
roots live side by side on one host and whatever a crash left behind can be found again by its name.
Standard library only: the command line and the shim import this on their way up.
"""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

SYSTEM_INSTANCE = "minipod"
SOCKET_PATH_LIMIT = 107  # sun_path is 108 bytes with its NUL (unix(7))


@dataclass(frozen=True)
class Layout:
    """The directories and kernel names of one minipod instance.

    `state` survives a reboot, `run` does not have to, `log` has the kubelet's layout.
    """

    state: Path
    run: Path
    log: Path
    instance: (
        str  # "minipod", or "minipod-XXXXXX" for any other root; names the nft table and the cgroup
    )
    bridge: str  # at most 15 characters (IFNAMSIZ)

    @property
    def root(self) -> Path | None:
        """The root that `layout` makes the same layout of; None for the system's."""
        return None if self.instance == SYSTEM_INSTANCE else self.state.parent

    @property
    def api_socket(self) -> Path:
        """The API server's root-only Unix socket."""
        return self.run / "api.sock"

    @property
    def kubelet_socket(self) -> Path:
        """The node agent's root-only Unix socket (the kubelet's HTTP API)."""
        return self.run / "kubelet.sock"

    @property
    def shim_socket(self) -> Path:
        """The shim's root-only Unix socket."""
        return self.run / "shim.sock"

    @property
    def database(self) -> Path:
        """The store's SQLite file."""
        return self.state / "store.db"

    @property
    def pki(self) -> Path:
        """The root's certificate authority (`minipod.pki`)."""
        return self.state / "pki"

    @property
    def serving(self) -> Path:
        """Where the API server listens over HTTPS: what `minipod kubeconfig` reads, and the next start listens on."""
        return self.state / "serving.json"

    @property
    def images(self) -> Path:
        """The image content store (OCI layout, unpacked layers, aliases)."""
        return self.state / "images"

    @cached_property
    def pods(self) -> Path:
        """One directory per Pod UID: volumes, etc-hosts, termination messages."""
        return self.state / "pods"

    @cached_property
    def containers(self) -> Path:
        """One directory per container ID: overlay upper and work directories."""
        return self.state / "containers"

    @cached_property
    def pod_logs(self) -> Path:
        """The kubelet's log layout: NAMESPACE_NAME_UID/CONTAINER/ATTEMPT.log."""
        return self.log / "pods"

    @cached_property
    def container_logs(self) -> Path:
        """Links to the containers' logs, as the kubelet names them for collectors."""
        return self.log / "containers"


def layout(root: str | os.PathLike[str] | None = None) -> Layout:
    """Return the layout of `root`, of `$MINIPOD_ROOT`, or of the system (`/var/lib`, `/run`, `/var/log`).

    Raises ValueError when the root is so long that its sockets could not be bound.
    """
    chosen = root if root is not None else os.environ.get("MINIPOD_ROOT")
    if not chosen:
        system = Path("/var/lib/minipod"), Path("/run/minipod"), Path("/var/log/minipod")
        return Layout(*system, instance=SYSTEM_INSTANCE, bridge="minipod0")
    import hashlib  # loads a library of five milliseconds, for roots of one's own alone

    base = Path(os.path.realpath(chosen))
    digest = hashlib.sha256(os.fsencode(base)).hexdigest()[:8]
    made = Layout(
        base / "lib",
        base / "run",
        base / "log",
        instance=f"minipod-{digest}",
        bridge=f"mp-{digest}",
    )
    longest = max(len(os.fsencode(made.kubelet_socket)), len(os.fsencode(made.api_socket)))
    if longest > SOCKET_PATH_LIMIT:
        raise ValueError(
            f'root "{base}" is too long: its sockets would have {longest} bytes of path, '
            f"Linux allows {SOCKET_PATH_LIMIT}; choose a shorter --root"
        )
    return made
