"""The peers: podman and crun from Debian, run in a mount namespace of their own.

The namespace lacks the empty cgroup v2 mount that crun refuses beside v1 controllers; the limits are those a
machine without CAP_SYS_RESOURCE can set. Nothing of the host's is changed.
"""

import ctypes
import json
import os
import shutil
import subprocess
from pathlib import Path

CONFIGURATION = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=10000:10000"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
_libc = ctypes.CDLL(None, use_errno=True)


class Peers:
    """podman and crun over a directory of their own, with one image of static busybox."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "containers.conf").write_text(CONFIGURATION)
        self._holder = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", _HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._holder.stdout is not None
        self._holder.stdout.readline()
        self._namespace = os.open(f"/proc/{self._holder.pid}/ns/mnt", os.O_RDONLY)
        self._environment = {
            **os.environ,
            "CONTAINERS_CONF": str(directory / "containers.conf"),
        }

    def close(self) -> None:
        """End the mount namespace's holder."""
        os.close(self._namespace)
        assert self._holder.stdin is not None
        self._holder.stdin.close()
        self._holder.wait()

    def run(self, *command: str, quiet: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the peers' namespace."""
        return subprocess.run(
            command,
            preexec_fn=lambda: _libc.setns(self._namespace, 0x00020000),  # CLONE_NEWNS
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if quiet else None,
            stderr=subprocess.PIPE if quiet else None,
            text=True,
            timeout=120,
            check=False,
        )

    def podman(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run podman over this directory's storage."""
        storage = ["--root", str(self.directory / "root"), "--runroot", str(self.directory / "run")]
        return self.run("podman", *storage, *arguments)

    def import_image(self, name: str, rootfs: Path) -> None:
        """Make a podman image of a root filesystem."""
        archive = self.directory / "rootfs.tar"
        subprocess.run(["tar", "-C", rootfs, "-cf", archive, "."], check=True)
        self.podman("import", str(archive), name)

    def crun_bundle(
        self, rootfs: Path, command: list[str], mounts: list[dict[str, object]]
    ) -> Path:
        """Make an OCI bundle as `crun spec` has it, with this command and these extra mounts."""
        bundle = self.directory / "bundle"
        shutil.rmtree(bundle, ignore_errors=True)
        bundle.mkdir()
        subprocess.run(["crun", "spec"], cwd=bundle, check=True)
        path = bundle / "config.json"
        config = json.loads(path.read_text())
        config["root"] = {"path": str(rootfs), "readonly": True}
        config["process"]["args"] = command
        config["process"]["terminal"] = False
        config["process"].pop("rlimits", None)
        config["mounts"] += mounts
        path.write_text(json.dumps(config))
        return bundle


_HOLD = """
mount --make-rprivate /
grep -q ' /sys/fs/cgroup/unified ' /proc/self/mountinfo && umount /sys/fs/cgroup/unified
echo ready
exec cat
"""


def available() -> list[str]:
    """Return which peers are installed."""
    return [name for name in ("podman", "crun") if shutil.which(name)]
