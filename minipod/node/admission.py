"""What this node refuses to run at all, whatever the API took: such a Pod fails, as with the kubelet. Pure."""

from minipod.client import Object
from minipod.node.pods import containers_of
from minipod.node.security import effective, pod_context

SYSCTL_FORBIDDEN = "SysctlForbidden"
APP_ARMOR = "AppArmor"

# Kernel parameters that each Pod has of its own and that harm nobody else (the kubelet's safe sysctls). Any other may
# be the whole host's: kernel.core_pattern alone would run a Pod's program as the host's root.
SAFE_SYSCTLS = frozenset(
    (
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    )
)


def compute_refusal(pod: Object, *, apparmor: bool) -> tuple[str, str] | None:
    """Return (reason, message) for a Pod that must not run here, None for any other.

    `apparmor` tells whether the host enforces profiles; minipod itself applies none.
    """
    for sysctl in pod_context(pod).get("sysctls") or ():
        if str(sysctl["name"]).replace("/", ".") not in SAFE_SYSCTLS:
            return SYSCTL_FORBIDDEN, f'forbidden sysctl: "{sysctl["name"]}" not allowlisted'
    if any(_wants_profile(pod, container) for _, container in containers_of(pod)):
        why = "AppArmor is not enabled on the host"
        if apparmor:
            why = "minipod applies no AppArmor profiles; leave appArmorProfile out, or set its type to Unconfined"
        return APP_ARMOR, f"Cannot enforce AppArmor: {why}"
    return None


def _wants_profile(pod: Object, container: Object) -> bool:
    profile = effective(pod, container, "appArmorProfile") or {"type": "Unconfined"}
    return bool(profile.get("type") != "Unconfined")
