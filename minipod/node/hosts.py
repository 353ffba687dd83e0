"""Names: a Pod's hostname, and the /etc/hosts and /etc/resolv.conf that its containers see. Pure.

Formats and limits are the kubelet's: hosts(5), resolv.conf(5), and its rules for dnsPolicy and dnsConfig.
"""

from dataclasses import dataclass, field

from minipod.client import Object
from minipod.node.errors import StepError
from minipod.node.pods import host_network

HOSTNAME_LIMIT = 63
FQDN_LIMIT = 64  # sethostname(2)
NAMESERVER_LIMIT = 3
SEARCH_LIMIT = 32
SEARCH_CHARACTERS = 2048

_HOSTS_HEADER = "# Kubernetes-managed hosts file.\n"
_HOST_NETWORK_HEADER = "# Kubernetes-managed hosts file (host network).\n"
_LOCAL_HOSTS = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""


@dataclass(frozen=True)
class Names:
    """A Pod's names: `hostname` for the kernel; `short` and `domain` ("sub.ns.svc.cluster.local") for /etc/hosts."""

    hostname: str
    short: str
    domain: str = ""


@dataclass
class ResolverSettings:
    """The content of a resolv.conf, and what had to be left out of it."""

    nameservers: list[str] = field(default_factory=list)
    searches: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def render(self) -> str:
        """Return the file's text."""
        lines = []
        if self.searches:
            lines.append(f"search {' '.join(self.searches)}")
        lines += [f"nameserver {each}" for each in self.nameservers]
        if self.options:
            lines.append(f"options {' '.join(self.options)}")
        return "\n".join(lines) + "\n" if lines else ""


def compute_names(pod: Object, cluster_domain: str, node_hostname: str) -> Names:
    """Return the Pod's names. StepError when setHostnameAsFQDN asks for more than the kernel takes."""
    spec, metadata = pod["spec"], pod["metadata"]
    if host_network(pod):
        return Names(node_hostname, node_hostname)
    if spec.get("hostnameOverride"):
        return Names(spec["hostnameOverride"], spec["hostnameOverride"])
    short = str(spec.get("hostname") or metadata["name"])
    if len(short) > HOSTNAME_LIMIT:
        short = short[:HOSTNAME_LIMIT].rstrip("-.")
    domain = ""
    if spec.get("subdomain"):
        domain = f"{spec['subdomain']}.{metadata['namespace']}.svc.{cluster_domain}"
    if not spec.get("setHostnameAsFQDN") or not domain:
        return Names(short, short, domain)
    full = f"{short}.{domain}"
    if len(full) > FQDN_LIMIT:
        raise StepError(
            "FailedCreatePodSandBox",
            f"Failed to construct FQDN from Pod hostname and cluster domain, FQDN {full} is too long "
            f"({FQDN_LIMIT} characters is the max, {len(full)} characters requested)",
        )
    return Names(full, short, domain)


def compute_hosts(pod: Object, names: Names, address: str, node_hosts: str) -> str:
    """Return the Pod's /etc/hosts; with hostNetwork it is the host's own, plus the aliases."""
    if host_network(pod):
        text = _HOST_NETWORK_HEADER + node_hosts
    else:
        full = f"{names.short}.{names.domain}\t" if names.domain else ""
        text = f"{_HOSTS_HEADER}{_LOCAL_HOSTS}{address}\t{full}{names.short}\n"
    aliases = pod["spec"].get("hostAliases") or ()
    if aliases:
        text += "\n# Entries added by HostAliases.\n"
    for alias in aliases:
        text += "\t".join((alias["ip"], *(alias.get("hostnames") or ()))) + "\n"
    return text


def parse_resolv_conf(text: str) -> ResolverSettings:
    """Read a host's resolv.conf. Loopback servers are left out: inside a Pod they would be the Pod itself."""
    found = ResolverSettings()
    for line in text.splitlines():
        words = line.split()
        if not words or words[0][0] in "#;":
            continue
        if words[0] == "nameserver" and len(words) > 1:
            found.nameservers.append(words[1])
        elif words[0] in ("search", "domain"):
            found.searches = [each for each in words[1:] if each != "."]
        elif words[0] == "options":
            found.options = words[1:]
    return found


def compute_resolver(
    pod: Object, host: ResolverSettings, cluster_dns: tuple[str, ...], cluster_domain: str
) -> ResolverSettings:
    """Return the Pod's resolver settings by dnsPolicy and dnsConfig, held to the limits of resolv.conf(5)."""
    spec = pod["spec"]
    policy = spec.get("dnsPolicy", "ClusterFirst")
    if policy == "ClusterFirst" and host_network(pod):
        policy = "Default"
    found = ResolverSettings()
    if policy.startswith("ClusterFirst") and cluster_dns:
        namespace = pod["metadata"]["namespace"]
        bases = (f"{namespace}.svc.{cluster_domain}", f"svc.{cluster_domain}", cluster_domain)
        found.nameservers = list(cluster_dns)
        found.searches = [*bases, *host.searches]
        found.options = ["ndots:5"]
    elif policy != "None":
        found = _of_host(pod, host)
    _merge(found, spec.get("dnsConfig") or {})
    _hold_to_limits(found)
    return found


def _of_host(pod: Object, host: ResolverSettings) -> ResolverSettings:
    servers = [
        each
        for each in host.nameservers
        if host_network(pod) or not (each.startswith("127.") or each == "::1")
    ]
    return ResolverSettings(servers, list(host.searches), list(host.options))


def _merge(found: ResolverSettings, wanted: Object) -> None:
    found.nameservers = list(
        dict.fromkeys([*found.nameservers, *(wanted.get("nameservers") or ())])
    )
    found.searches = list(dict.fromkeys([*found.searches, *(wanted.get("searches") or ())]))
    options = {each.partition(":")[0]: each for each in found.options}
    for option in wanted.get("options") or ():
        value = option.get("value")
        options[option["name"]] = f"{option['name']}:{value}" if value else option["name"]
    found.options = list(options.values())


def _hold_to_limits(found: ResolverSettings) -> None:
    if len(found.nameservers) > NAMESERVER_LIMIT:
        found.nameservers = found.nameservers[:NAMESERVER_LIMIT]
        found.warnings.append(
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver "
            f"line is: {' '.join(found.nameservers)}"
        )
    kept = found.searches[:SEARCH_LIMIT]
    while len(" ".join(kept)) > SEARCH_CHARACTERS:
        kept.pop()
    if len(kept) < len(found.searches):
        found.searches = kept
        found.warnings.append(
            "Search Line limits were exceeded, some search paths have been omitted, the applied search "
            f"line is: {' '.join(kept)}"
        )
