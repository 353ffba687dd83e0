"""Priority: from the name of a class to the number that the scheduler compares (plugin/pkg/admission/priority)."""

from collections.abc import Callable, Iterable

from minipod.client import Object

FindClass = Callable[[str], Object | None]


def admit_pod(pod: Object, find_class: FindClass, classes: Iterable[Object]) -> str:
    """Set a new Pod's priority, in place. Returns why it is refused, "" when it is not."""
    spec = pod["spec"]
    name, value, policy = _choose(spec, find_class, classes)
    if name is None:
        return f"no PriorityClass with name {spec.get('priorityClassName')} was found"
    if spec.get("priority") not in (None, value):
        return (
            f"the integer value of priority ({spec['priority']}) must not be provided in pod spec; "
            f"priority admission controller computed {value} from the given PriorityClass name"
        )
    given = spec.get("preemptionPolicy")
    chosen = (spec.get("priorityClassName") or "") != "" or name != ""
    if chosen and given not in (None, policy) and not _is_default(given):
        return (
            f"the string value of PreemptionPolicy ({given}) must not be provided in pod spec; "
            f"priority admission controller computed {policy} from the given PriorityClass name"
        )
    if name:
        spec["priorityClassName"] = name
    spec["priority"], spec["preemptionPolicy"] = value, policy if chosen else given or policy
    return ""


def _is_default(policy: str) -> bool:
    return policy == "PreemptLowerPriority"


def _choose(
    spec: Object, find_class: FindClass, classes: Iterable[Object]
) -> tuple[str | None, int, str]:
    """Return the class's name (None: there is no such class), its value and its preemption policy."""
    wanted = spec.get("priorityClassName") or ""
    if wanted:
        found = find_class(wanted)
        if found is None:
            return None, 0, ""
        return wanted, found.get("value") or 0, found.get("preemptionPolicy") or ""
    defaults = [each for each in classes if each.get("globalDefault")]
    if not defaults:
        return "", 0, "PreemptLowerPriority"
    lowest = min(defaults, key=lambda each: each.get("value") or 0)
    return (
        lowest["metadata"]["name"],
        lowest.get("value") or 0,
        lowest.get("preemptionPolicy") or "",
    )


def find_other_default(priority_class: Object, classes: Iterable[Object]) -> str:
    """Return why a PriorityClass cannot be the default one, "" when it can: there is one at most."""
    if not priority_class.get("globalDefault"):
        return ""
    name = priority_class["metadata"].get("name")
    for other in classes:
        if other.get("globalDefault") and other["metadata"]["name"] != name:
            return (
                f"PriorityClass {other['metadata']['name']} is already marked as default. "
                "Only one default can exist"
            )
    return ""
