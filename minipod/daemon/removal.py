"""Taking down what outlives the daemon: the shim with its containers, the network, what Pods had mounted."""

import asyncio

from minipod.paths import Layout


async def take_down(place: Layout) -> None:
    """End the shim, with whatever it still runs, and remove the network from the host."""
    from minipod.network import bridge
    from minipod.runtime.shim_client import ShimRuntime

    if place.shim_socket.exists():
        runtime = ShimRuntime(place)
        await runtime.open()
        await runtime.shutdown()
        await runtime.close()
    await asyncio.to_thread(_remove_pods, place)
    await asyncio.to_thread(bridge.remove_network, place)


def _remove_pods(place: Layout) -> None:
    """Take down what Pods that were forced away still had mounted: no daemon is there to finish that."""
    from minipod.node.termination import removal_of
    from minipod.runtime.execute import perform

    for directory in place.pods.iterdir() if place.pods.exists() else ():
        for operation in removal_of(str(directory)):
            perform(operation)
