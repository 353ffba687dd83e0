"""A sandbox's network, made while its pause settles in, and taken away with it."""

import subprocess
from pathlib import Path

import pytest

from minipod.linux import netlink, nft
from minipod.network.bridge import ensure_network, remove_network
from minipod.runtime.service import RuntimeFailure
from minipod.runtime.spec import PortMapping, SandboxNetwork
from tests.kernel.shim.world import ShimWorld, asynchronous, wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("outer_namespace")]


@asynchronous
async def test_a_sandbox_has_its_address_before_its_first_container(shim: ShimWorld) -> None:
    facts = ensure_network(shim.layout, "10.98.0.0/20")
    try:
        ports = (PortMapping(8080, 80),)
        wire = f"v0{shim.layout.instance[-8:]}"
        network = SandboxNetwork(
            facts.bridge, "10.98.0.2/20", "10.98.0.1", wire, table=facts.table, ports=ports
        )
        made = await shim.sandbox(network=network)
        assert (made.ready, made.address) == (True, "10.98.0.2")
        inside = ["nsenter", "-t", str(made.pid), "-n", "ip", "-4", "-o", "address", "show", "eth0"]
        shown = subprocess.run(inside, capture_output=True, text=True, check=True)  # noqa: ASYNC221
        assert "10.98.0.2/20" in shown.stdout
        ended = await shim.run("cat /proc/net/route /proc/sys/kernel/hostname")
        assert any(line.startswith("eth0\t00000000\t0100620A") for line in shim.log(ended))
        assert shim.log(ended)[-1] == "pod-1"
        assert nft.list_elements("inet", facts.table, "ports")
        other = SandboxNetwork(
            facts.bridge, "10.98.0.3/20", "10.98.0.1", "v1", table=facts.table, ports=ports
        )
        with pytest.raises(RuntimeFailure, match="8080") as failure:  # the port is taken
            await shim.sandbox("second", network=other)
        assert failure.value.reason == "SandboxFailed"
        assert [item.id for item in (await shim.runtime.state()).sandboxes] == ["sandbox"]
        await shim.runtime.close()  # a new daemon takes it down as well
        await shim.open()
        await shim.runtime.remove_sandbox("sandbox")
        assert netlink.link(wire) is None
        assert not nft.list_elements("inet", facts.table, "ports")
        await wait_until(lambda: not Path(f"/proc/{made.pid}/exe").exists())
    finally:
        remove_network(shim.layout)
