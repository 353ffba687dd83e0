"""Naming the layers of an overlay in the options of mount(2), where ":" and "," have a meaning of their own."""

from collections.abc import Sequence

OPTIONS_LIMIT = 4095  # mount(2): a page, with its NUL


def lower_directories(layers: Sequence[str], prefix: str = "") -> str:
    """Return the value of `lowerdir`, topmost first; `prefix` is left out where a path begins with it."""
    return ":".join(escape(layer.removeprefix(prefix)).replace(":", "\\:") for layer in layers)


def escape(path: str) -> str:
    """Return a path as an option holds it."""
    return path.replace("\\", "\\\\").replace(",", "\\,")
