"""Sockets in another network namespace. A socket stays in the namespace that it was made in, whoever uses it."""

import socket
import threading

from minipod.linux.process import CLONE_NEWNET, setns


def open_socket(namespace: int, family: int) -> socket.socket:
    """Return a TCP socket in the network namespace of a pidfd, or that a namespace's descriptor refers to (setns(2)).

    A thread of its own enters the namespace, makes the socket and ends: there is no way back to fail on, so nothing
    else of this process can ever find itself in there.
    """
    made: list[socket.socket] = []
    failed: list[OSError] = []

    def enter() -> None:
        try:
            setns(namespace, CLONE_NEWNET)
            made.append(socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC))
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=enter, name="network namespace")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]
