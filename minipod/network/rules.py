"""The nftables rules of one instance, as text for nft(8). Pods come and go as elements; rules never change for a Pod.

Table `inet INSTANCE` (IPv4 now; the family is ready for IPv6):

    map ports          protocol . port of the host           : Pod address . port
    map address_ports  host address . protocol . port         : Pod address . port
    map service_ports  Service address . protocol . port      : goto its chain (network.services)
    map node_ports     protocol . node port                   : goto its chain
    set service_ranges                                        where Services have their addresses

- `martians` drops what comes from outside with a loopback address. Connections from the host's own 127.0.0.1 to a
  hostPort need `route_localnet` on the bridge; without this rule that would open the host's loopback services to Pods
  and to neighbours (CVE-2020-8558).
- `refuse_...` answers what goes to a Service's address with "connection refused" when nothing translated it: no such
  Service, or nobody behind it. Such a packet never leaves the host. What is received is refused before it is routed:
  forwarding it back to where it came from would answer with a redirect first, and use up the answers of a second.
- `prerouting` (from outside, and from Pods) and `output` (from the host itself) translate a hostPort's address.
- `postrouting` gives the host's address to what Pods send beyond the bridge, never between Pods; and the bridge's
  to what would otherwise be answered past the host: connections from 127.0.0.1, and from Pods through a hostPort.

Table `bridge INSTANCE` holds each Pod to its own address:

    set guarded        interface of the bridge
    set sources        interface . Pod's hardware address . Pod address

A guarded interface passes IPv4 and ARP from its own addresses; anything else (other addresses, IPv6 router
advertisements, VLAN tags) is dropped where it enters: before the bridge learns from it where a hardware address is,
or a Pod could draw another's traffic to itself.
"""

from ipaddress import IPv4Network

from minipod.linux.nft import Family

# What each flushed chain holds is written anew: the transaction is the same whether the table is there or not.
_INET_DECLARATIONS = """
table inet {table} {{
  map ports {{
    type inet_proto . inet_service : ipv4_addr . inet_service
  }}
  map address_ports {{
    type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
  }}
  map service_ports {{
    type ipv4_addr . inet_proto . inet_service : verdict
  }}
  map node_ports {{
    type inet_proto . inet_service : verdict
  }}
  set service_ranges {{
    type ipv4_addr
    flags interval
  }}
  chain martians {{
    type filter hook prerouting priority -300; policy accept;
  }}
  chain refuse_received {{
    type filter hook prerouting priority 0; policy accept;
  }}
  chain refuse_sent {{
    type filter hook output priority 0; policy accept;
  }}
  chain prerouting {{
    type nat hook prerouting priority -100; policy accept;
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
  }}
  chain postrouting {{
    type nat hook postrouting priority 100; policy accept;
  }}
  chain host_ports {{
  }}
  chain services {{
  }}
}}
flush chain inet {table} martians
flush chain inet {table} prerouting
flush chain inet {table} output
flush chain inet {table} postrouting
flush chain inet {table} host_ports
flush chain inet {table} services
flush chain inet {table} refuse_received
flush chain inet {table} refuse_sent
"""

_INET_RULES = """
table inet {table} {{
  chain martians {{
    iifname != "lo" ip daddr 127.0.0.0/8 drop
    iifname != "lo" ip saddr 127.0.0.0/8 drop
  }}
  chain host_ports {{
    dnat ip to ip daddr . meta l4proto . th dport map @address_ports
    dnat ip to meta l4proto . th dport map @ports
  }}
  chain services {{
    ip daddr . meta l4proto . th dport vmap @service_ports
    fib daddr type local meta l4proto . th dport vmap @node_ports
  }}
  chain refuse_received {{
    ip daddr @service_ranges reject
  }}
  chain refuse_sent {{
    ip daddr @service_ranges reject
  }}
  chain prerouting {{
    meta l4proto {{ tcp, udp, sctp }} fib daddr type local jump host_ports
    meta l4proto {{ tcp, udp, sctp }} jump services
  }}
  chain output {{
    meta l4proto {{ tcp, udp, sctp }} fib daddr type local jump host_ports
    meta l4proto {{ tcp, udp, sctp }} jump services
  }}
  chain postrouting {{
    oifname "{bridge}" ip saddr 127.0.0.0/8 masquerade fully-random
    oifname "{bridge}" ip saddr {prefix} ct status dnat masquerade fully-random
    oifname != "{bridge}" ip saddr {prefix} ip daddr != {{ {prefix}, 224.0.0.0/4 }} masquerade fully-random
  }}
}}
"""

_BRIDGE_DECLARATIONS = """
table bridge {table} {{
  set guarded {{
    type ifname
  }}
  set sources {{
    type ifname . ether_addr . ipv4_addr
  }}
  chain prerouting {{
    type filter hook prerouting priority -300; policy accept;
  }}
  chain pod {{
  }}
}}
flush chain bridge {table} prerouting
flush chain bridge {table} pod
"""

_BRIDGE_RULES = """
table bridge {table} {{
  chain prerouting {{
    iifname @guarded jump pod
  }}
  chain pod {{
    iifname . ether saddr . ip saddr @sources accept
    iifname . ether saddr . arp saddr ip @sources accept
    drop
  }}
}}
"""


def compute_rulesets(
    table: str, bridge: str, prefix: IPv4Network, markers: tuple[str, ...] = ()
) -> dict[Family, str]:
    """Return the commands that make each table, or bring it up to date without touching any element.

    Each marker is an empty chain: a note on the instance that other instances of this host can read.
    """
    names = {"table": table, "bridge": bridge, "prefix": str(prefix)}
    noted = "".join(f"add chain inet {table} {marker}\n" for marker in markers)
    return {
        "inet": _INET_DECLARATIONS.format(**names) + noted + _INET_RULES.format(**names),
        "bridge": _BRIDGE_DECLARATIONS.format(**names) + _BRIDGE_RULES.format(**names),
    }
