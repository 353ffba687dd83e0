"""How upstream's own structures print as the value of a field error, where they print otherwise than as they were sent.

Internal types have no JSON names: they print with all their fields, in their order, under their Go names.
"""

from typing import Any

Object = dict[str, Any]


def struct(obj: Object | None, *names: str) -> Object | None:
    """Return an object as an internal type with the fields of these Go names prints."""
    if obj is None:
        return None
    return {name: obj.get(name[0].lower() + name[1:]) for name in names}


def labels(found: Object | None) -> Object | None:
    """Return a map of labels as Go prints it: by its keys' order, null when there is none."""
    return dict(sorted(found.items())) if found else None


def label_selector(selector: Object | None) -> Object | None:
    """Return a LabelSelector as it prints: what is empty is left out, what is required is not."""
    if selector is None:
        return None
    made: Object = {}
    if selector.get("matchLabels"):
        made["matchLabels"] = labels(selector["matchLabels"])
    if selector.get("matchExpressions"):
        made["matchExpressions"] = [_requirement(each) for each in selector["matchExpressions"]]
    return made


def _requirement(given: Object) -> Object:
    made = {"key": given.get("key") or "", "operator": given.get("operator") or ""}
    return {**made, "values": given["values"]} if given.get("values") else made
