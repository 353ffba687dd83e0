from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipod.api import quantity


@pytest.mark.parametrize(
    ("text", "value", "canonical"),
    [
        ("0", 0, "0"),
        ("1", 1, "1"),
        ("100m", Fraction(1, 10), "100m"),
        ("0.1", Fraction(1, 10), "100m"),
        (".5", Fraction(1, 2), "500m"),
        ("5.", 5, "5"),
        ("+2", 2, "2"),
        ("-1500m", Fraction(-3, 2), "-1500m"),
        ("1000", 1000, "1k"),
        ("1024", 1024, "1024"),
        ("1500k", 1500000, "1500k"),
        ("1Ki", 1024, "1Ki"),
        ("1024Ki", 2**20, "1Mi"),
        ("1.5Gi", 3 * 2**29, "1536Mi"),
        ("0.001Ki", Fraction(1024, 1000), "1024m"),
        ("1e3", 1000, "1e3"),
        ("12E6", 12 * 10**6, "12e6"),
        ("1E", 10**18, "1E"),
        ("1.5e-3", Fraction(15, 10000), "1500e-6"),
        ("100n", Fraction(1, 10**7), "100n"),
        ("50u", Fraction(5, 10**5), "50u"),
        ("0.0000000001", Fraction(1, 10**9), "1n"),
        ("99999999999999999999", 2**63 - 1, "9223372036854775807"),
    ],
)
def test_every_notation_is_exact_and_has_a_canonical_form(text, value, canonical):
    assert quantity.parse(text) == value
    assert quantity.canonical(text) == canonical


@pytest.mark.parametrize(
    "text", ["", "a", "1x", "1..2", "1 Gi", "+", "--1", "1Gib", "0x10", "1e", "Ki", "1e99999"]
)
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(quantity.QuantityError):
        quantity.parse(text)
    assert not quantity.is_quantity(text)


def test_whole_values_round_up():
    assert quantity.value("1001m") == 2
    assert quantity.value("64Mi") == 64 * 2**20


def test_amounts_are_written_with_the_largest_suffix_that_keeps_them_whole():
    assert quantity.in_binary(2 * 2**30) == "2Gi"
    assert quantity.in_binary(2**30 + 1) == "1073741825"
    assert quantity.in_decimal(Fraction(1, 2)) == "500m"


@given(
    st.integers(0, 10**9),
    st.integers(0, 999),
    st.sampled_from(["", "n", "u", "m", "k", "M", "G", "Ki", "Mi", "Gi", "e2", "e-2", "E3"]),
)
def test_the_canonical_form_means_the_same_and_is_stable(whole, thousandths, suffix):
    text = f"{whole}.{thousandths:03}{suffix}"
    once = quantity.canonical(text)
    assert quantity.canonical(once) == once
    if suffix.endswith("i") and quantity.parse(text) >= 1024:
        assert 0 <= quantity.parse(once) - quantity.parse(text) < 1
    else:
        assert quantity.parse(once) == quantity.parse(text)
