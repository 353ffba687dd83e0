"""Quantities: `100m`, `1.5Gi`, `1e3`, exact.

Objects keep a quantity as it was written; only computations and comparisons come here. Grammar and canonical form are
those of apimachinery's resource.Quantity: three notations (decimal suffixes, binary suffixes, decimal exponent), no
fraction in the canonical form, nothing finer than nano (rounded away from zero).
"""

import re
from fractions import Fraction
from functools import lru_cache
from math import ceil, floor

_PATTERN = re.compile(
    r"(?P<sign>[+-]?)(?P<number>[0-9]+\.?[0-9]*|\.[0-9]+)"
    r"(?:(?P<suffix>[numkMGTPE]|[KMGTPE]i)|[eE](?P<exponent>[+-]?[0-9]+))?"
)
_WRONG_FORMAT = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
_WRONG_SUFFIX = "unable to parse quantity's suffix"
_LOOSE = re.compile(r"[+-]?[0-9.]+(?P<suffix>[eEinumkKMGTP]*[-+]?[0-9]*)")

_DECIMAL = ("n", "u", "m", "", "k", "M", "G", "T", "P", "E")
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_SCALE = {suffix: Fraction(1000) ** (power - 3) for power, suffix in enumerate(_DECIMAL)} | {
    suffix: Fraction(1024) ** power for power, suffix in enumerate(_BINARY) if suffix
}
_NANO = Fraction(1, 10**9)
_LARGEST = 2**63 - 1
# 1e4096 is already beyond every sense; without a bound one short text would fill the memory.
_LARGEST_EXPONENT = 4096


class QuantityError(ValueError):
    """A text that is no quantity; the message is upstream's."""


@lru_cache(maxsize=4096)
def parse(text: str | int | float) -> Fraction:
    """Return the exact value. Raises QuantityError.

    JSON numbers are taken as upstream takes them: as their own text.
    """
    return _split(text)[0]


def is_quantity(text: str | int | float) -> bool:
    """Whether `parse` accepts it."""
    try:
        parse(text)
    except QuantityError:
        return False
    return True


def value(text: str | int | float) -> int:
    """Return the value in whole units, rounded up (bytes, cores). Raises QuantityError."""
    return ceil(parse(text))


@lru_cache(maxsize=4096)
def canonical(text: str | int | float) -> str:
    """Return the canonical text of a quantity, in the notation it was written in. Raises QuantityError."""
    amount, notation = _split(text)
    if notation == "binary" and abs(amount) >= 1024:
        return _in_binary(amount)
    return _in_decimal(amount, exponent=notation == "exponent")


def in_binary(amount: Fraction | int) -> str:
    """Return a number of bytes with the largest binary suffix that keeps it whole: 2147483648 is `2Gi`."""
    return _in_binary(Fraction(amount))


def in_decimal(amount: Fraction | int) -> str:
    """Return a number with the largest decimal suffix that keeps it whole: 1500 is `1500`, 1/2 is `500m`."""
    return _in_decimal(Fraction(amount), exponent=False)


def _split(text: str | int | float) -> tuple[Fraction, str]:
    written = str(text)
    match = _PATTERN.fullmatch(written)
    if match is None:
        loose = _LOOSE.fullmatch(written)
        plain_number = loose and written[: loose.start("suffix")].count(".") <= 1
        raise QuantityError(_WRONG_SUFFIX if plain_number else _WRONG_FORMAT)
    number = Fraction(match["number"] if match["number"][0] != "." else "0" + match["number"])
    if match["sign"] == "-":
        number = -number
    if match["exponent"] is not None:
        power = int(match["exponent"])
        if abs(power) > _LARGEST_EXPONENT:
            raise QuantityError(_WRONG_SUFFIX)
        return _bounded(number * Fraction(10) ** power), "exponent"
    suffix = match["suffix"] or ""
    return _bounded(number * _SCALE[suffix]), "binary" if suffix.endswith("i") else "decimal"


def _bounded(amount: Fraction) -> Fraction:
    """Round to nano, away from zero, and cap at what 64 bits hold, as upstream does."""
    limited = max(min(amount, Fraction(_LARGEST)), Fraction(-_LARGEST))
    return _away_from_zero(limited / _NANO) * _NANO


def _away_from_zero(amount: Fraction) -> int:
    return ceil(amount) if amount >= 0 else floor(amount)


def _in_binary(amount: Fraction) -> str:
    whole = _away_from_zero(amount)
    power = 0
    while whole and whole % 1024 == 0 and power < len(_BINARY) - 1:
        whole //= 1024
        power += 1
    return f"{whole}{_BINARY[power]}"


def _in_decimal(amount: Fraction, exponent: bool) -> str:
    whole = int(amount / _NANO)
    power = 0
    while whole and whole % 1000 == 0 and power < len(_DECIMAL) - 1:
        whole //= 1000
        power += 1
    if not whole:
        return "0"
    if not exponent:
        return f"{whole}{_DECIMAL[power]}"
    power_of_ten = (power - 3) * 3
    return f"{whole}e{power_of_ten}" if power_of_ten else str(whole)
