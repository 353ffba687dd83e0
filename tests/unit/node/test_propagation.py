"""Mounts that are to be passed on, where the host does so and where it does not."""

import pytest

from minipod.linux.mounts import parse
from minipod.node.errors import StepError
from minipod.node.propagation import compare
from minipod.runtime.spec import Mount

TABLE = parse(
    """20 1 8:1 / / rw - ext4 /dev/a rw
21 20 8:2 / /srv rw shared:1 - ext4 /dev/b rw
22 20 8:3 / /srv-old rw - ext4 /dev/c rw
23 21 8:4 / /srv/slave rw master:1 - ext4 /dev/d rw
24 21 8:5 / /srv/over rw shared:2 - ext4 /dev/e rw
25 24 8:6 / /srv/over rw - ext4 /dev/f rw"""
)


@pytest.mark.parametrize(
    ("path", "propagation"),
    [
        ("/srv", "rshared"),
        ("/srv/data", "rslave"),
        ("/srv/slave/x", "rslave"),
    ],
)
def test_a_mount_that_the_host_passes_on(path, propagation):
    compare(Mount("/v", path, propagation=propagation), path, TABLE)


@pytest.mark.parametrize(
    ("path", "propagation", "message"),
    [
        ("/data", "rshared", 'path "/data" is mounted on "/" but it is not a shared mount; try:'),
        ("/data", "rslave", "not a shared or slave mount; try: mount --make-rshared /$"),
        ("/srv-old/x", "rslave", 'is mounted on "/srv-old"'),
        ("/srv/slave", "rshared", 'is mounted on "/srv/slave" but it is not a shared mount'),
        ("/srv/over/x", "rslave", 'is mounted on "/srv/over"'),
    ],
)
def test_a_mount_that_the_host_keeps_to_itself(path, propagation, message):
    with pytest.raises(StepError, match=message) as caught:
        compare(Mount("/v", path, propagation=propagation), path, TABLE)
    assert caught.value.reason == "CreateContainerError"
