import pytest

from minipod.linux import capabilities


@pytest.mark.parametrize("name", ["CAP_NET_ADMIN", "net_admin", "NET_ADMIN"])
def test_names_are_taken_in_any_form(name: str) -> None:
    assert capabilities.normalise(name) == "NET_ADMIN"


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match='"CAP_FLY"'):
        capabilities.normalise("CAP_FLY")


def test_default_set_is_the_other_runtimes() -> None:
    assert capabilities.mask(capabilities.DEFAULT) == 0xA80425FB


def test_numbers_are_the_kernels() -> None:
    assert [
        capabilities.NUMBERS[name] for name in ("CHOWN", "SYS_ADMIN", "CHECKPOINT_RESTORE")
    ] == [*(0, 21, 40)]
