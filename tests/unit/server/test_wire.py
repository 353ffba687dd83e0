import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipod.server import wire

_TEXT = st.text(st.characters(exclude_categories=("Cs",)))
_NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
_JSON = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner),
)


@given(_JSON)
def test_what_is_written_is_read_again(value) -> None:
    written = wire.encode(value)
    assert wire.decode(written) == value == json.loads(written)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"path": "a\udcff"}, b'{"path":"a?"}'),
        ({"count": 2**64}, b'{"count":18446744073709551616}'),
        ({"name": "Größe", "args": ("a",)}, '{"name":"Größe","args":["a"]}'.encode()),
    ],
)
def test_what_one_library_refuses_the_other_writes(value, written) -> None:
    assert wire.encode(value) == written
