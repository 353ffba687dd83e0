"""Image references: what a manifest writes, and the one full name it stands for.

The grammar is distribution/reference's: `[domain[:port]/]path[:tag][@digest]`. A name without a domain is Docker
Hub's (`nginx` is `docker.io/library/nginx`), a name without tag and digest means the tag `latest`; of a name with
both, the digest decides and the tag is dropped, as the kubelet and containerd do.
"""

import re
from dataclasses import dataclass

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
NAME_LIMIT = 255  # of domain and path together

_DOMAIN_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(
    rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?", re.ASCII
)
_PATH_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PATH_PART}(?:/{_PATH_PART})*", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}", re.ASCII)
_HEX_ID = re.compile(r"[a-f0-9]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reference:
    """A full image name. Exactly one of `tag` and `digest` is set."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """Domain and path: `docker.io/library/nginx`."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar(self) -> str:
        """The short form that people write: `nginx:latest`."""
        path = self.path
        if self.domain != DEFAULT_DOMAIN:
            path = self.name
        elif path.startswith("library/"):
            path = path.removeprefix("library/")
        return path + self._suffix

    @property
    def _suffix(self) -> str:
        return f"@{self.digest}" if self.digest else f":{self.tag}"

    def __str__(self) -> str:
        return self.name + self._suffix


def parse_reference(text: str) -> Reference:
    """Return the full reference that `text` stands for.

    Raises ValueError (the kubelet's InvalidImageName), naming the text and what is wrong with it.
    """
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise _invalid(text, f'digest "{digest}" is not sha256:<64 hexadecimal digits>')
    rest, tag = _split_tag(text, rest)
    if _HEX_ID.fullmatch(rest):
        raise _invalid(text, "64 hexadecimal digits are an image ID, not a name")
    domain, path = _split_domain(rest)
    _check_name(text, domain, path)
    if digest:
        return Reference(domain, path, digest=digest)
    return Reference(domain, path, tag=tag or DEFAULT_TAG)


def _split_tag(text: str, rest: str) -> tuple[str, str]:
    name, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:  # the colon of a port: "localhost:5000/app"
        return rest, ""
    if not _TAG.fullmatch(tag):
        raise _invalid(text, f'tag "{tag}" is not 1 to 128 of [A-Za-z0-9_.-]')
    return name, tag


def _split_domain(rest: str) -> tuple[str, str]:
    """Tell a domain from a first path component: it has a dot, a port or a capital, or is localhost."""
    first, slash, path = rest.partition("/")
    looks_like_domain = (
        "." in first or ":" in first or first == "localhost" or first.lower() != first
    )
    if not slash or not looks_like_domain:
        domain, path = DEFAULT_DOMAIN, rest
    else:
        domain = DEFAULT_DOMAIN if first == "index.docker.io" else first
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = f"library/{path}"
    return domain, path


def _check_name(text: str, domain: str, path: str) -> None:
    if not text or not path.removeprefix("library/"):
        raise _invalid(text, "it has no name")
    if not _DOMAIN.fullmatch(domain):
        raise _invalid(text, f'"{domain}" is not a registry\'s host[:port]')
    if path.lower() != path:
        raise _invalid(text, "a repository name must be lower case")
    if not _PATH.fullmatch(path):
        raise _invalid(
            text, "a repository name has lower case letters and digits, separated by one of . _ - /"
        )
    if len(domain) + 1 + len(path) > NAME_LIMIT:
        raise _invalid(text, f"a repository name has at most {NAME_LIMIT} characters")


def _invalid(text: str, why: str) -> ValueError:
    return ValueError(f'invalid image reference "{text}": {why}')
