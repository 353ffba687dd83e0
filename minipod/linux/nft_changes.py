"""Being told that packet rules have changed, by nfnetlink's group for nftables (linux/netfilter/nfnetlink.h)."""

import errno

from minipod.linux.nfnetlink import open_socket

_NFNLGRP_NFTABLES = 7


class RuleChanges:
    """One socket, not blocking; give `fileno()` to an event loop, and `drain()` it when it is readable.

    Whose rules have changed, and how, is for whoever is told to look at. So nothing is lost with what the kernel could
    not tell (ENOBUFS), and of a thousand changes at once nothing is read.
    """

    def __init__(self) -> None:
        self._socket = open_socket(1 << _NFNLGRP_NFTABLES - 1)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._socket.fileno()

    def drain(self) -> None:
        """Take all that has been told."""
        while True:
            try:
                self._socket.recv(1)  # the rest of the message goes with it
            except BlockingIOError:
                return
            except OSError as failure:
                if failure.errno != errno.ENOBUFS:
                    raise

    def close(self) -> None:
        """Be told no more."""
        self._socket.close()
