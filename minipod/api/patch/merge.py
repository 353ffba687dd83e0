"""JSON merge patch (RFC 7396): objects are merged, null removes, everything else replaces."""

from typing import Any


def apply_merge(original: Any, patch: Any) -> Any:
    """Return the original with the patch applied. Its parts are the arguments' own: copy it before changing it."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(original) if isinstance(original, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = apply_merge(merged.get(name), value)
    return merged
