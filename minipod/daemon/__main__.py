"""`python -m minipod.daemon`: run the daemon in the foreground. Every failure is one line."""

import argparse
import asyncio
import errno
import faulthandler
import logging
import os
import sys

from minipod.daemon.process import run
from minipod.daemon.removal import take_down
from minipod.daemon.root_lock import StartError, only_daemon
from minipod.paths import layout

logger = logging.getLogger("minipod.daemon")


def main() -> None:
    """Run the daemon in the foreground, or (`--shutdown-shim`) end the shim and take down the network."""
    options = _parser().parse_args()
    logging.basicConfig(
        level=logging.DEBUG if os.environ.get("MINIPOD_DEBUG") else logging.INFO,
        format="%(asctime)s %(levelname).1s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.raiseExceptions = False  # a full disk takes no record, nor a traceback instead
    faulthandler.enable()  # a library's crash leaves in the log where each thread was
    try:
        place = layout(options.root)
        if options.shutdown_shim:
            asyncio.run(take_down(place))
        else:
            with only_daemon(place):
                asyncio.run(run(place, options))
    except StartError as failure:
        sys.exit(f"minipod: {failure}")
    except (OSError, ValueError) as failure:
        logger.debug("start failed", exc_info=True)
        sys.exit(f"minipod: {_full_disk(failure, options.root) or failure}")
    except Exception as failure:  # the last resort: one line, the rest on request
        logger.debug("the daemon failed", exc_info=True)
        if _is_understood(failure):
            sys.exit(f"minipod: {failure}")
        sys.exit(
            f"minipod: {type(failure).__name__}: {failure} (this is a defect of minipod's; "
            "MINIPOD_DEBUG=1 minipod daemon shows where)"
        )


def _full_disk(failure: Exception, root: str | None) -> str:
    """Return what is full, where that is why the daemon ended: the failure itself may name no file. "" otherwise."""
    if not isinstance(failure, OSError) or failure.errno not in (errno.ENOSPC, errno.EDQUOT):
        return ""
    place = layout(root)
    for path in (place.run, place.state, place.log):
        if path.exists() and not os.statvfs(path).f_bfree:
            return f'{failure.strerror}: no room is left on the disk of "{path}"'
    return ""


def _is_understood(failure: Exception) -> bool:
    """Whether the failure is one whose message says what is wrong with this host, and the way out."""
    from minipod.runtime.service import RuntimeFailure
    from minipod.store import StoreError

    return isinstance(failure, (StoreError, RuntimeFailure)) or isinstance(
        failure.__cause__, StoreError
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="minipod daemon", description="Run minipod's daemon.")
    parser.add_argument("--root", help="keep everything below this directory")
    parser.add_argument("--pod-cidr", default="", help="the range of Pod addresses")
    parser.add_argument("--service-cidr", default="", help="the range of Service addresses")
    parser.add_argument("--node-name", default="", help="the node's name [default: the host's]")
    parser.add_argument("--backoff-base", type=float, default=10.0, metavar="SECONDS")
    parser.add_argument("--backoff-max", type=float, default=300.0, metavar="SECONDS")
    parser.add_argument("--max-pods", type=int, default=500)
    parser.add_argument("--pod-max-pids", type=int, default=None)
    parser.add_argument("--memory-throttling-factor", default="", metavar="FACTOR")
    parser.add_argument(
        "--system-reserved",
        default="",
        metavar="NAME=QUANTITY,...",
        help="cpu, memory, ephemeral-storage and pid that is not for Pods",
    )
    parser.add_argument(
        "--eviction-hard",
        default=None,
        metavar="SIGNAL<AMOUNT,...",
        help="how much is to stay free of memory and disk",
    )
    parser.add_argument(
        "--secure-port",
        type=int,
        default=None,
        help="the HTTPS port [default: the root's own; 0: none]",
    )
    parser.add_argument(
        "--bind-address",
        action="append",
        default=[],
        help="serve HTTPS here [default: 127.0.0.1, the bridge]",
    )
    parser.add_argument("--audit-policy-file", default="", help="a Policy of audit.k8s.io/v1")
    parser.add_argument("--audit-log-path", default="", help="[default: audit.log among the logs]")
    parser.add_argument("--audit-log-maxsize", type=int, default=100, metavar="MEGABYTES")
    parser.add_argument("--audit-log-maxbackup", type=int, default=10, metavar="N")
    parser.add_argument("--token-auth-file", default="", help="CSV of token,user,uid,groups")
    parser.add_argument(
        "--encryption-provider-config",
        default="",
        help="an EncryptionConfiguration of apiserver.config.k8s.io/v1",
    )
    parser.add_argument("--shutdown-shim", action="store_true", help="end the shim and the network")
    return parser


if __name__ == "__main__":
    main()
