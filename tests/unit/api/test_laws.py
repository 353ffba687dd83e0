"""Laws of what objects mean: patches, selectors and quantities, held against whatever hypothesis thinks of."""

from copy import deepcopy
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from minipod.api import quantity
from minipod.api.patch import apply_json, apply_merge, apply_strategic, three_way
from minipod.api.selectors import from_object, parse_labels

Object = dict[str, Any]
POD = "io.k8s.api.core.v1.Pod"

# ---- patches ----

_NAMES = st.sampled_from("abc")
_TEXTS = st.sampled_from("xyz")
_JSON = st.recursive(
    st.one_of(st.booleans(), st.integers(-3, 3), _TEXTS),
    lambda below: st.one_of(
        st.lists(below, max_size=3), st.dictionaries(_NAMES, below, max_size=3)
    ),
    max_leaves=8,
)
_OBJECT = st.dictionaries(_NAMES, _JSON, max_size=4)
_PORT = st.fixed_dictionaries(
    {"containerPort": st.sampled_from([80, 81])}, optional={"name": _TEXTS}
)
_CONTAINER = st.fixed_dictionaries(
    {"name": _NAMES},
    optional={
        "image": _TEXTS,
        "args": st.lists(_TEXTS, max_size=3),
        "ports": st.lists(_PORT, max_size=2, unique_by=lambda each: each["containerPort"]),
        "env": st.lists(
            st.fixed_dictionaries({"name": _NAMES, "value": _TEXTS}),
            max_size=3,
            unique_by=lambda each: each["name"],
        ),
    },
)
_POD = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"name": st.just("p")},
            optional={
                "labels": st.dictionaries(_NAMES, _TEXTS, max_size=3),
                "finalizers": st.lists(_TEXTS, max_size=3, unique=True),
            },
        ),
        "spec": st.fixed_dictionaries(
            {"containers": st.lists(_CONTAINER, max_size=3, unique_by=lambda each: each["name"])},
            optional={"nodeSelector": st.dictionaries(_NAMES, _TEXTS, max_size=2)},
        ),
    }
)


@given(_POD, _POD)
def test_a_strategic_patch_applied_twice_is_applied_once_and_changes_no_argument(
    original: Object, patch: Object
) -> None:
    kept = deepcopy((original, patch))
    once = apply_strategic(POD, original, patch)
    assert apply_strategic(POD, once, patch) == once
    assert (original, patch) == kept


@given(_POD, _POD, _POD)
def test_apply_brings_about_what_is_wanted_and_then_has_nothing_to_say(
    original: Object, modified: Object, current: Object
) -> None:
    """Client-side apply: what the manifest says is there afterwards, and a second apply is empty."""
    patch = three_way("v1", "Pod", original, modified, current)
    made = apply_strategic(POD, current, patch)
    assert three_way("v1", "Pod", modified, modified, made) == {}
    wanted = {each["name"]: each for each in modified["spec"]["containers"]}
    found = {each["name"]: each for each in made["spec"]["containers"]}
    for name, container in wanted.items():
        for key in ("image", "args"):
            if key in container:
                assert found[name][key] == container[key]


@given(_OBJECT, _OBJECT)
def test_a_merge_patch_is_what_rfc_7396_says(original: Object, patch: Object) -> None:
    made = apply_merge(original, patch)
    assert apply_merge(made, patch) == made
    assert apply_merge(original, {}) == original
    assert apply_merge(original, dict.fromkeys(original)) == {}
    assert set(made) == set(original) | set(patch)


@given(_OBJECT, _NAMES, _JSON)
def test_what_a_json_patch_adds_it_tests_and_removes(
    original: Object, name: str, value: Any
) -> None:
    path = f"/{name}"
    kept = deepcopy(original)
    added = apply_json(original, [{"op": "add", "path": path, "value": value}])
    assert apply_json(added, [{"op": "test", "path": path, "value": value}]) == added
    removed = apply_json(added, [{"op": "remove", "path": path}])
    assert removed == {key: each for key, each in original.items() if key != name}
    assert original == kept


# ---- selectors ----

_LABELS = st.dictionaries(_NAMES, _TEXTS, max_size=3)
_KEYS = _NAMES
_SETS = st.lists(_TEXTS, min_size=1, max_size=2, unique=True)


@given(_LABELS, _KEYS, _SETS)
def test_a_selector_and_its_opposite_never_agree(
    labels: Object, key: str, values: list[str]
) -> None:
    listed = ",".join(values)
    pairs = [
        (f"{key} in ({listed})", f"{key} notin ({listed})"),
        (f"{key}={values[0]}", f"{key}!={values[0]}"),
        (key, f"!{key}"),
    ]
    for one, other in pairs:
        assert parse_labels(one).matches(labels) is not parse_labels(other).matches(labels)
    both = f"{pairs[0][0]},{pairs[1][0]}"
    each = [parse_labels(pairs[0][0]), parse_labels(pairs[1][0])]
    assert parse_labels(both).matches(labels) is all(one.matches(labels) for one in each)


@given(_LABELS, _LABELS, _KEYS, _SETS, st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]))
def test_a_selector_object_says_what_its_text_says(
    labels: Object, wanted: Object, key: str, values: list[str], operator: str
) -> None:
    valued = operator in ("In", "NotIn")
    expression = {"key": key, "operator": operator, **({"values": values} if valued else {})}
    listed = f"({','.join(values)})"
    text = {
        "In": f"{key} in {listed}",
        "NotIn": f"{key} notin {listed}",
        "Exists": key,
        "DoesNotExist": f"!{key}",
    }[operator]
    terms = [*(f"{name}={value}" for name, value in wanted.items()), text]
    of_object = from_object({"matchLabels": wanted, "matchExpressions": [expression]})
    assert of_object.matches(labels) is parse_labels(",".join(terms)).matches(labels)


@given(_LABELS)
def test_an_object_is_selected_by_its_own_labels(labels: Object) -> None:
    assert parse_labels(",".join(f"{key}={value}" for key, value in labels.items())).matches(labels)


# ---- quantities ----

_NUMBERS = st.decimals(min_value=-(10**6), max_value=10**6, places=3)
_SUFFIXES = {
    "": 1,
    "m": Fraction(1, 1000),
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "e3": 10**3,
    "E2": 10**2,
}


@given(_NUMBERS, st.sampled_from(sorted(_SUFFIXES)))
def test_a_quantity_is_its_number_times_its_suffix_in_every_notation(
    number: Any, suffix: str
) -> None:
    text = f"{number:f}{suffix}"
    assert quantity.is_quantity(text)
    assert quantity.parse(text) == Fraction(number) * Fraction(_SUFFIXES[suffix])


@given(st.integers(-(10**12), 10**12), st.sampled_from(sorted(_SUFFIXES)))
def test_the_canonical_form_is_the_same_amount_and_canonical(number: int, suffix: str) -> None:
    text = f"{number}{suffix}"
    made = quantity.canonical(text)
    assert quantity.parse(made) == quantity.parse(text)
    assert quantity.canonical(made) == made
