"""Name rules: each function returns what is wrong with a value, in upstream's words; nothing when it is fine.

Sources: RFC 1123, RFC 1035, RFC 6335; wording of apimachinery's util/validation.
"""

import json
import re
from collections.abc import Callable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

LABEL_LENGTH = 63
SUBDOMAIN_LENGTH = 253
GENERATED_SUFFIX_LENGTH = 5
# No vowels and no look-alikes, so that no word appears by chance.
GENERATED_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = f"({_QUALIFIED})?"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_HEADER = "[-A-Za-z0-9]+"

_LABEL_RE = re.compile(_LABEL)
_SUBDOMAIN_RE = re.compile(_SUBDOMAIN)
_LABEL_1035_RE = re.compile(_LABEL_1035)
_QUALIFIED_RE = re.compile(_QUALIFIED)
_VALUE_RE = re.compile(_VALUE)
_CONFIG_KEY_RE = re.compile(_CONFIG_KEY)
_HEADER_RE = re.compile(_HEADER)
_SYSCTL_RE = re.compile(r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?")

_QUALIFIED_TEXT = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character"
)


def _with_examples(message: str, pattern: str, *examples: str) -> str:
    # Upstream joins the examples with two blanks before "or".
    quoted = " or ".join(f"'{each}', " for each in examples)
    return f"{message} (e.g. {quoted}regex used for validation is '{pattern}')"


def _length(limit: int) -> str:
    return f"must be no more than {limit} characters"


def _bytes(limit: int) -> str:
    return f"must be no more than {limit} bytes"


def dns1123_label(value: str) -> list[str]:
    """Check one label of a DNS name, in lower case (RFC 1123)."""
    problems = [_length(LABEL_LENGTH)] if len(value) > LABEL_LENGTH else []
    if _LABEL_RE.fullmatch(value):
        return problems
    if _SUBDOMAIN_RE.fullmatch(value):
        problems.append("must not contain dots")
    else:
        text = (
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
            "must start and end with an alphanumeric character"
        )
        problems.append(_with_examples(text, _LABEL, "my-name", "123-abc"))
    return problems


def dns1123_subdomain(value: str) -> list[str]:
    """Check a DNS name of one or more labels, in lower case (RFC 1123)."""
    problems = [_length(SUBDOMAIN_LENGTH)] if len(value) > SUBDOMAIN_LENGTH else []
    if not _SUBDOMAIN_RE.fullmatch(value):
        text = (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
            "'.', and must start and end with an alphanumeric character"
        )
        problems.append(_with_examples(text, _SUBDOMAIN, "example.com"))
    return problems


def wildcard_dns1123_subdomain(value: str) -> list[str]:
    """Check a DNS name whose first label is `*`."""
    if _SUBDOMAIN_RE.fullmatch(value[2:]) and value.startswith("*."):
        return [_length(SUBDOMAIN_LENGTH)] if len(value) > SUBDOMAIN_LENGTH else []
    text = (
        "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must "
        "consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character"
    )
    return [_with_examples(text, rf"\*\.{_SUBDOMAIN}", "*.example.com")]


def lenient_ip(value: str) -> IPv4Address | IPv6Address | None:
    """Return what fields of old took for an address: leading zeros are nothing, IPv4 in IPv6 is IPv4."""
    parts = value.split(".")
    if len(parts) == 4 and all(re.fullmatch("[0-9]{1,3}", each) for each in parts):
        value = ".".join(each.lstrip("0") or "0" for each in parts)
    try:
        found = ip_address("" if "%" in value else value)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def lenient_cidr(value: str) -> IPv4Network | IPv6Network | None:
    """Return what fields of old took for a range of addresses."""
    address, _, length = value.partition("/")
    found = lenient_ip(address)
    if found is None or not re.fullmatch("[0-9]{1,3}", length):
        return None
    bits = int(length) - (96 if found.version == 4 and ":" in address else 0)
    return ip_network(f"{found}/{bits}", strict=False) if 0 <= bits <= found.max_prefixlen else None


def ip(value: str) -> list[str]:
    """Check an IPv4 or IPv6 address (upstream's IsValidIPForLegacyField, strict)."""
    if lenient_ip(value) is None:
        return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]
    if ":" not in value:
        zeros = any(each != "0" and each.startswith("0") for each in value.split("."))
        return ["must not have leading 0s"] if zeros else []
    found = ip_address(value)
    mapped = isinstance(found, IPv6Address) and found.ipv4_mapped is not None
    return ["must not be an IPv4-mapped IPv6 address"] if mapped else []


def canonical_ip(value: str) -> list[str]:
    """Check an address in the one form that RFC 5952 (for IPv6) gives it."""
    problems = ip(value)
    if problems or str(lenient_ip(value)) == value:
        return problems
    return [f"must be in canonical form ({json.dumps(str(lenient_ip(value)))})"]


def cidr(value: str) -> list[str]:
    """Check a range of addresses: `10.9.8.0/24` (upstream's IsValidCIDRForLegacyField, strict)."""
    network = lenient_cidr(value)
    if network is None:
        return ["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"]
    address, _, length = value.partition("/")
    [problem] = ip(address) or [""]
    if "leading" in problem or (length != "0" and length.startswith("0")):
        return ["must not have leading 0s in IP or prefix length"]
    if problem:
        return ["must not have an IPv4-mapped IPv6 address"]
    if lenient_ip(address) != network.network_address:
        return ["must not have bits set beyond the prefix length"]
    return []


def canonical_cidr(value: str) -> list[str]:
    """Check a range of a field that takes one form only (upstream's IsValidCIDR)."""
    problems = cidr(value)
    if problems or value == str(lenient_cidr(value)):
        return problems
    return [f'must be in canonical form ("{lenient_cidr(value)}")']


def dns1035_label(value: str) -> list[str]:
    """Check a label that starts with a letter (RFC 1035)."""
    problems = [_length(LABEL_LENGTH)] if len(value) > LABEL_LENGTH else []
    if not _LABEL_1035_RE.fullmatch(value):
        text = (
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
            "alphabetic character, and end with an alphanumeric character"
        )
        problems.append(_with_examples(text, _LABEL_1035, "my-name", "abc-123"))
    return problems


def qualified_name(value: str) -> list[str]:
    """Check a label or annotation key: a name of at most 63 characters, with an optional `prefix/`."""
    prefix, slash, name = value.rpartition("/")
    if "/" in prefix:
        text = _with_examples(
            f"a valid label key {_QUALIFIED_TEXT}", _QUALIFIED, "MyName", "my.name", "123-abc"
        )
        return [f"{text} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]
    problems = []
    if slash and not prefix:
        problems.append("prefix part must be non-empty")
    elif slash:
        told = [_bytes(SUBDOMAIN_LENGTH)] if len(prefix) > SUBDOMAIN_LENGTH else []
        told += [] if _SUBDOMAIN_RE.fullmatch(prefix) else dns1123_subdomain(prefix)[-1:]
        problems += [f"prefix part {each}" for each in told]
    if not name:
        problems.append("name part must be non-empty")
    elif len(name) > LABEL_LENGTH:
        problems.append(f"name part {_bytes(LABEL_LENGTH)}")
    if not _QUALIFIED_RE.fullmatch(name):
        examples = ("MyName", "my.name", "123-abc")
        problems.append(f"name part {_with_examples(_QUALIFIED_TEXT, _QUALIFIED, *examples)}")
    return problems


def label_value(value: str) -> list[str]:
    """Check the value of a label."""
    problems = [_bytes(LABEL_LENGTH)] if len(value) > LABEL_LENGTH else []
    if not _VALUE_RE.fullmatch(value):
        text = (
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
            "'.', and must start and end with an alphanumeric character"
        )
        problems.append(_with_examples(text, _VALUE, "MyValue", "my_value", "12345"))
    return problems


def environment_name(value: str) -> list[str]:
    """Check the name of an environment variable: any printable ASCII but `=` (KEP-4369)."""
    if not value:
        return ["must be non-empty"]
    if all(" " <= character <= "~" and character != "=" for character in value):
        return []
    return [
        "a valid environment variable name must consist only of printable ASCII characters other than '='"
    ]


def config_key(value: str) -> list[str]:
    """Check a key of a ConfigMap or Secret, which becomes a file name."""
    problems = [_length(SUBDOMAIN_LENGTH)] if len(value) > SUBDOMAIN_LENGTH else []
    if not _CONFIG_KEY_RE.fullmatch(value):
        text = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        problems.append(_with_examples(text, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    if value in (".", ".."):
        problems.append(f"must not be '{value}'")
    elif value.startswith(".."):
        problems.append("must not start with '..'")
    return problems


def port_name(value: str) -> list[str]:
    """Check the name of a port (RFC 6335, section 5.1)."""
    problems = [_length(15)] if len(value) > 15 else []
    if not re.fullmatch("[-a-z0-9]+", value):
        problems.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", value):
        problems.append("must contain at least one letter (a-z)")
    if "--" in value:
        problems.append("must not contain consecutive hyphens")
    if value and (value[0] == "-" or value[-1] == "-"):
        problems.append("must not begin or end with a hyphen")
    return problems


def port_number(value: int) -> list[str]:
    """Check a port number."""
    return [] if 1 <= value <= 65535 else ["must be between 1 and 65535, inclusive"]


def user_id(value: int) -> list[str]:
    """Check a user or group ID."""
    return [] if 0 <= value <= 2147483647 else ["must be between 0 and 2147483647, inclusive"]


def http_header(value: str) -> list[str]:
    """Check the name of an HTTP header."""
    if _HEADER_RE.fullmatch(value):
        return []
    text = "a valid HTTP header must consist of alphanumeric characters or '-'"
    return [_with_examples(text, _HEADER, "X-Header-Name")]


def is_sysctl(value: str) -> bool:
    """Whether a value names a kernel parameter, with dots or slashes (sysctl.d(5))."""
    return len(value) <= SUBDOMAIN_LENGTH and bool(_SYSCTL_RE.fullmatch(value))


def path_segment(value: str, prefix: bool = False) -> list[str]:
    """Check that a value can be one segment of a URL path, or with `prefix` begin one."""
    if not prefix and value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{each}'" for each in "/%" if each in value]


_RULES: dict[str, Callable[[str], list[str]]] = {
    "dns1123_label": dns1123_label,
    "dns1123_subdomain": dns1123_subdomain,
    "dns1035_label": dns1035_label,
    "canonical_ip": canonical_ip,
}


def object_name(rule: str, value: str, prefix: bool = False) -> list[str]:
    """Check an object's name by its kind's rule; with `prefix`, a generateName, whose last `-` does not matter."""
    if rule == "path_segment":
        return path_segment(value, prefix)
    if prefix and len(value) > 1 and value.endswith("-"):
        value = value[:-2] + "a"  # upstream's maskTrailingDash spares two characters
    return _RULES[rule](value)


def generated(prefix: str, suffix: str) -> str:
    """Return a name from `generateName` and a random suffix, cut so that it stays a label."""
    return prefix[: LABEL_LENGTH - len(suffix)] + suffix
