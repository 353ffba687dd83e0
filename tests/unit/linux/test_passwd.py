import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipod.linux.passwd import Identity, resolve

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
broken line
nginx:x:101:102::/var/lib/nginx:/sbin/nologin
7:x:70:71::/seven:/bin/sh
huge:x:4294967295:0::/:/bin/sh
twin:x:101:103::/twin:/bin/sh
"""
GROUP = "root:x:0:\n8:x:0:\nnginx:x:102:\nweb:x:200:nginx,other\nstaff:x:50:nginx\n:::\n"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", Identity(0, 0, (), "/root")),
        ("nginx", Identity(101, 102, (200, 50), "/var/lib/nginx")),
        ("101", Identity(101, 102, (200, 50), "/var/lib/nginx")),
        ("nginx:web", Identity(101, 200, (), "/var/lib/nginx")),
        ("nginx:9", Identity(101, 9, (), "/var/lib/nginx")),
        ("4711", Identity(4711, 0, (), "/")),
        ("4711:4712", Identity(4711, 4712, (), "/")),
        ("7", Identity(7, 0, (), "/")),  # a number is never a name: that user could be root
        ("nginx:8", Identity(101, 8, (), "/var/lib/nginx")),
        ("0101", Identity(101, 102, (200, 50), "/var/lib/nginx")),
    ],
)
def test_resolves_as_images_mean_it(user: str, expected: Identity) -> None:
    assert resolve(user, PASSWD, GROUP) == expected


def test_groups_of_the_image_can_be_left_out() -> None:
    assert resolve("nginx", PASSWD, GROUP, merge_groups=False).groups == ()


@pytest.mark.parametrize(
    ("user", "culprit"),
    [
        ("ghost", "ghost"),
        ("root:ghosts", "ghosts"),
        ("4294967295", "4294967295"),  # -1: setresuid(2) would leave it root
        ("nginx:4294967295", "4294967295"),
        ("\u0661", "\u0661"),  # a digit, not an ASCII one
        ("huge", "huge"),  # an entry with such a number counts for nothing
    ],
)
def test_unknown_names_are_refused_by_name(user: str, culprit: str) -> None:
    with pytest.raises(ValueError, match=f'"{culprit}"'):
        resolve(user, PASSWD, GROUP)


@given(st.text(max_size=60), st.text(max_size=60))
def test_hostile_files_never_break_a_numeric_user(passwd: str, group: str) -> None:
    assert resolve("5:6", passwd, group).gid == 6
