"""The named places in the runtime where a test kills the daemon, or its shim (`minipod.fault`)."""

DAEMON = (
    "runtime.sandbox.network-made",
    "runtime.sandbox.network-removed",
    "runtime.container.directory-removed",
)
SHIM = (
    "shim.sandbox.recorded",
    "shim.sandbox.launched",
    "shim.sandbox.configured",
    "shim.container.recorded",
    "shim.container.started",
    "shim.container.finished",
    "shim.sandbox.cgroups-removed",
    "shim.container.cgroup-removed",
)
