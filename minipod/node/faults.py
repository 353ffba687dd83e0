"""The named places between the steps of a Pod's life where a test kills the daemon (`minipod.fault`).

All names in one tuple, so that a test can visit each of them: first those of a Pod's making, then those of
its life, at last those of its ending.
"""

CREATION = (
    "node.pod.seen",
    "node.address.allocated",
    "node.references.fetched",
    "node.images.leased",
    "node.filesystems.mounted",
    "node.volumes.prepared",
    "node.sandbox.created",
    "node.container.planned",
    "node.container.ahead",
    "node.container.started",
    "node.status.written",
)
DELETION = (
    "node.termination.begun",
    "node.containers.stopped",
    "node.sandbox.removed",
    "node.containers.removed",
    "node.volumes.removed",
    "node.address.released",
    "node.images.released",
    "node.final.status",
    "node.object.removed",
)
UPDATE = ("node.volumes.refreshing",)
FAULTS = CREATION + DELETION  # what every Pod passes; UPDATE only what follows objects
