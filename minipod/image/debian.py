"""What Debian's maintainer scripts would do that matters in an image, without running them."""

import posixpath

from .packages import Package
from .recipe import UserItem
from .tree import MERGED, Tree

# Everything that a person reads and a program does not; copyright notices stay, as the licenses ask.
TRIMMED = (
    "/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*",
    "/usr/share/lintian*", "/usr/share/linda*", "/usr/share/bug*", "/usr/share/groff*",
    "/usr/share/doc-base*", "/usr/share/menu*", "/usr/share/bash-completion*", "/usr/share/gcc*",
    "/usr/share/apport*", "/usr/share/vim*", "/var/cache/ldconfig*", "/var/lib/dpkg/info*",
)  # fmt: skip
KEPT = ("/usr/share/doc/*/copyright",)

STATUS_FOLDER = (
    "/var/lib/dpkg/status.d"  # one file per package: layers add, none rewrites another's
)
_DAY = 86400


def merge_usr(tree: Tree) -> None:
    """Make the links of a merged /usr at the root: /bin, /lib and their kin, where /usr has the directory."""
    for name in MERGED:
        if f"/usr/{name}" in tree:
            tree.add_root_link(name, f"usr/{name}")


def record_packages(tree: Tree, packages: list[Package]) -> None:
    """Leave a record of each package where scanners look for it in images without dpkg."""
    for package in packages:
        text = f"{package.control()}\nStatus: install ok installed\n"
        tree.add_file(f"{STATUS_FOLDER}/{package.name}", text.encode())


def make_accounts(tree: Tree, epoch: int) -> None:
    """Make passwd, group and shadow from base-passwd's masters, as its maintainer script and pwconv(8) would."""
    if "/usr/share/base-passwd/passwd.master" not in tree or "/etc/passwd" in tree:
        return
    days = epoch // _DAY
    for name, secret in (("passwd", "shadow"), ("group", "gshadow")):
        lines = tree.read(f"/usr/share/base-passwd/{name}.master").decode().splitlines()
        fields = [line.split(":") for line in lines if line]
        shown = "".join(":".join([f[0], "x", *f[2:]]) + "\n" for f in fields)
        tail = "*::" if secret == "gshadow" else f"*:{days}:0:99999:7:::"
        tree.add_file(f"/etc/{name}", shown.encode())
        hidden = "".join(f"{f[0]}:{tail}\n" for f in fields)
        tree.add_file(f"/etc/{secret}", hidden.encode(), mode=0o640, gid=42)  # root:shadow


def add_user(tree: Tree, user: UserItem, epoch: int) -> None:
    """Add a user and a group of the same name to the account files, which must be in the tree."""
    days = epoch // _DAY
    lines = {
        "/etc/passwd": f"{user.name}:x:{user.uid}:{user.gid}::{user.home}:{user.shell}\n",
        "/etc/group": f"{user.name}:x:{user.gid}:\n",
        "/etc/shadow": f"{user.name}:!:{days}:0:99999:7:::\n",
        "/etc/gshadow": f"{user.name}:!::\n",
    }
    for path, line in lines.items():
        tree.append(path, line.encode())


def link_alternatives(tree: Tree, alternatives: dict[str, str]) -> None:
    """Make each link through /etc/alternatives, as update-alternatives(1) does."""
    for link, target in sorted(alternatives.items()):
        middle = f"/etc/alternatives/{posixpath.basename(link)}"
        tree.add_symlink(middle, target)
        tree.add_symlink(link, middle)
