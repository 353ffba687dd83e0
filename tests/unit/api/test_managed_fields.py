"""Managed fields and apply, on the objects of real kinds."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipod.api import kinds
from minipod.api.errors import StatusError
from minipod.api.managed import fieldset, managers
from minipod.api.managed.shape import shape_of
from minipod.api.managed.typed import compare, field_set, merge, remove

Object = dict[str, Any]
POD = kinds.by_resource("pods")
CONFIG_MAP = kinds.by_resource("configmaps")


def at(name: str, kind: Any = CONFIG_MAP, subresource: str = "", time: str = "t1") -> Any:
    return managers.Writer(name, kind, subresource, time)


def config_map(labels: Object | None = None, **data: str) -> Object:
    metadata: Object = {"name": "c", "namespace": "default"}
    if labels is not None:
        metadata["labels"] = labels
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def pod(*containers: Object, **spec: Any) -> Object:
    metadata = {"name": "p", "namespace": "default"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": list(containers), **spec},
    }


def applied(
    name: str, live: Object | None, config: Object, kind: Any = CONFIG_MAP, **how: Any
) -> Object:
    """Return the object with its managedFields, as the server stores it."""
    made = managers.apply(at(name, kind, time=how.pop("time", "t1")), live, config, force=bool(how))
    return stored(made.obj, made.managed)


def updated(name: str, old: Object | None, new: Object, kind: Any = CONFIG_MAP) -> Object:
    return stored(new, managers.update(at(name, kind), old, new))


def stored(obj: Object, managed: list[Object]) -> Object:
    made = deepcopy(obj)
    made["metadata"]["managedFields"] = managed
    return made


def owned(obj: Object, name: str) -> set[str]:
    """Return the paths that a manager owns."""
    return {
        fieldset.path_text(path)
        for entry in obj["metadata"]["managedFields"]
        if entry["manager"] == name
        for path in fieldset.paths(entry["fieldsV1"])
    }


def test_what_a_create_sets_belongs_to_its_writer_and_what_the_server_sets_to_nobody() -> None:
    made = updated("kubectl-create", None, config_map({"app": "web"}, a="1"))
    (entry,) = made["metadata"]["managedFields"]
    assert entry == {
        "manager": "kubectl-create",
        "operation": "Update",
        "apiVersion": "v1",
        "time": "t1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:data": {".": {}, "f:a": {}},
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
        },
    }


def test_list_elements_are_known_by_their_keys_and_defaults_of_keys() -> None:
    container = {"name": "a", "image": "i", "ports": [{"containerPort": 80}]}
    made = updated("m", None, pod(container), POD)
    paths = owned(made, "m")
    assert '.spec.containers[name="a"].ports[containerPort=80,protocol="TCP"]' in paths
    assert '.spec.containers[name="a"]' in paths
    assert ".spec" not in paths  # a struct is there whoever writes


def test_an_update_takes_what_it_changes_from_others_and_removes_what_is_gone() -> None:
    first = updated("one", None, config_map(a="1", b="1", c="1"))
    second = updated("two", first, {**config_map(a="2", b="1"), "metadata": first["metadata"]})
    assert owned(second, "one") == {".data", ".data.b"}
    assert owned(second, "two") == {".data.a"}


def test_an_apply_is_refused_field_by_field_and_forced_takes_over() -> None:
    live = updated("editor", None, config_map(a="1", b="1"))
    with pytest.raises(StatusError) as refused:
        applied("deployer", live, config_map(a="2"))
    status = refused.value.status
    assert status["code"] == 409
    assert status["reason"] == "Conflict"
    assert status["message"] == (
        'Apply failed with 1 conflict: conflict with "editor" using v1: .data.a'
    )
    assert status["details"]["causes"] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "editor" using v1',
            "field": ".data.a",
        }
    ]
    forced = applied("deployer", live, config_map(a="2"), force=True)
    assert forced["data"] == {"a": "2", "b": "1"}
    assert owned(forced, "deployer") == {".data.a"}
    assert owned(forced, "editor") == {".data", ".data.b"}


def test_many_conflicts_are_listed_by_manager() -> None:
    live = updated("one", None, config_map(a="1", b="1"))
    live = updated("two", live, {**config_map(a="1", b="2"), "metadata": live["metadata"]})
    with pytest.raises(StatusError, match="Apply failed with 2 conflicts") as refused:
        applied("m", live, config_map(a="9", b="9"))
    assert refused.value.message == (
        'Apply failed with 2 conflicts: conflicts with "one" using v1:\n- .data.a\n'
        'conflicts with "two" using v1:\n- .data.b'
    )


def test_the_same_value_is_shared_and_goes_with_its_last_owner() -> None:
    live = applied("one", None, config_map(a="1", b="1"))
    live = applied("two", live, config_map(a="1"))
    assert owned(live, "one") == {".data.a", ".data.b"}
    live = applied("one", live, config_map(b="1"))
    assert live["data"] == {"a": "1", "b": "1"}, "the other manager still holds it"
    live = applied("two", live, config_map())
    assert live["data"] == {"b": "1"}
    assert owned(live, "two") == {".data"}, "an empty map is something said"


def test_what_nobody_owns_stays_when_an_applier_stops_speaking_of_its_neighbours() -> None:
    live = applied("one", None, config_map(a="1"))
    live["data"]["unowned"] = "x"
    assert applied("one", live, config_map())["data"] == {"unowned": "x"}


def test_a_list_element_leaves_with_all_that_defaults_put_into_it() -> None:
    both = pod({"name": "a", "image": "i"}, {"name": "b", "image": "i"})
    live = applied("m", None, both, POD)
    for container in live["spec"]["containers"]:
        container["imagePullPolicy"] = "Always"  # a default: nobody's
    made = applied("m", live, pod({"name": "b", "image": "j"}), POD)
    assert made["spec"]["containers"] == [{"name": "b", "image": "j", "imagePullPolicy": "Always"}]


def test_atomic_lists_and_maps_are_owned_as_a_whole() -> None:
    live = applied("one", None, pod({"name": "a", "image": "i", "args": ["x"]}), POD)
    assert '.spec.containers[name="a"].args' in owned(live, "one")
    with pytest.raises(
        StatusError, match=r'conflict with "one": \.spec\.containers\[name="a"\]\.args'
    ):
        applied("two", live, pod({"name": "a", "args": ["x", "y"]}), POD)


def test_applying_the_same_again_changes_nothing_not_even_the_time() -> None:
    once = applied("m", None, config_map(a="1"))
    again = applied("m", once, config_map(a="1"), time="t2")
    assert again == once
    changed = applied("m", once, config_map(a="2"), time="t2")
    assert changed["metadata"]["managedFields"][0]["time"] == "t2"


def test_the_first_apply_leaves_what_was_there_to_a_manager_of_its_own() -> None:
    live = config_map(a="1", b="1")
    made = applied("m", live, config_map(a="1"))
    assert owned(made, managers.BEFORE_FIRST_APPLY) == {".data", ".data.a", ".data.b"}
    assert owned(made, "m") == {".data.a"}


def test_kubectl_takes_over_what_its_client_side_apply_set_and_keeps_its_annotation_true() -> None:
    last = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"1"}}'
    given = config_map(a="1")
    given["metadata"]["annotations"] = {managers.LAST_APPLIED: last}
    live = updated("kubectl-client-side-apply", None, given)
    made = applied("kubectl", live, config_map(a="2"))
    assert made["data"] == {"a": "2"}
    assert '"data":{"a":"2"}' in made["metadata"]["annotations"][managers.LAST_APPLIED]
    with pytest.raises(StatusError, match="1 conflict"):
        applied("another", live, config_map(a="2"))


@pytest.mark.parametrize("reset", [[], [{}]])
def test_an_empty_list_forgets_every_manager(reset: list[Object]) -> None:
    live = updated("one", None, config_map(a="1"))
    new = config_map(a="1")
    new["metadata"]["managedFields"] = reset
    assert managers.update(at("two"), live, new) == []


def test_nonsense_for_managed_fields_leaves_them_as_they_are() -> None:
    live = updated("one", None, config_map(a="1"))
    for nonsense in ([{"manager": "x"}], [{"operation": "Update", "fieldsV1": {"oops": {}}}]):
        new = config_map(a="1")
        new["metadata"]["managedFields"] = nonsense
        assert managers.update(at("two"), live, new) == live["metadata"]["managedFields"]


def test_a_status_writer_and_a_spec_writer_do_not_share_an_entry() -> None:
    live = updated("m", None, pod({"name": "a", "image": "i"}), POD)
    new = {**live, "status": {"phase": "Running"}}
    managed = managers.update(at("m", POD, "status"), live, new)
    assert [entry.get("subresource", "") for entry in managed] == ["", "status"]
    assert managed[1]["fieldsV1"] == {"f:status": {"f:phase": {}}}


def test_old_updates_are_folded_into_one_entry() -> None:
    given = config_map(k0="x")
    live = stored(given, managers.update(at("m0", time="t00"), None, given))
    for number in range(1, 15):
        new = {**live, "data": {**live["data"], f"k{number}": "x"}}
        live = stored(new, managers.update(at(f"m{number}", time=f"t{number:02}"), live, new))
    names = [entry["manager"] for entry in live["metadata"]["managedFields"]]
    assert len(names) == managers.UPDATE_MANAGERS
    assert managers.ANCIENT_CHANGES in names
    assert ".data.k0" in owned(live, managers.ANCIENT_CHANGES)


def test_an_element_twice_and_an_element_without_its_key_are_refused_by_path() -> None:
    twice = pod({"name": "a", "image": "i"}, {"name": "a", "image": "j"})
    with pytest.raises(
        StatusError, match=r'\.spec\.containers: duplicate entries for key \[name="a"\]'
    ):
        applied("m", None, twice, POD)
    with pytest.raises(StatusError, match='omits key field "name"'):
        applied("m", None, pod({"image": "i"}), POD)


def test_the_order_of_a_merged_list_is_the_configurations() -> None:
    live = pod(*({"name": name, "image": "i"} for name in "abcde"))
    config = pod(*({"name": name} for name in "dxb"))
    merged = merge(shape_of(POD.schema_name), live, config)
    assert "".join(each["name"] for each in merged["spec"]["containers"]) == "acdexb"


# ---- laws ----

_NAMES = st.sampled_from("abcd")
_CONFIG = st.builds(
    lambda labels, data: config_map(labels, **data),
    st.dictionaries(_NAMES, st.sampled_from("xy"), max_size=3),
    st.dictionaries(_NAMES, st.sampled_from("xy"), max_size=4),
)
_CONTAINER = st.fixed_dictionaries(
    {"name": _NAMES},
    optional={
        "image": st.sampled_from("ij"),
        "args": st.lists(st.sampled_from("xy"), max_size=2),
        "env": st.lists(
            st.fixed_dictionaries({"name": _NAMES}, optional={"value": st.sampled_from("xy")}),
            max_size=3,
            unique_by=lambda each: each["name"],
        ),
    },
)
_POD = st.lists(_CONTAINER, max_size=3, unique_by=lambda each: each["name"]).map(
    lambda containers: pod(*containers)
)
_OBJECTS = st.one_of(_CONFIG, _POD)


def _kind(obj: Object) -> Any:
    return POD if obj["kind"] == "Pod" else CONFIG_MAP


@given(st.one_of(st.tuples(_CONFIG, _CONFIG), st.tuples(_POD, _POD)))
def test_apply_is_idempotent_and_holds_what_it_says(pair: tuple[Object, Object]) -> None:
    live, config = pair
    kind = _kind(live)
    there = updated("other", None, live, kind)
    once = applied("m", there, config, kind, force=True)
    assert applied("m", once, config, kind, time="t2") == once
    spoken = {
        fieldset.path_text(path)
        for path in fieldset.paths(field_set(shape_of(kind.schema_name), config))
    }
    ignored = {".kind", ".apiVersion", ".metadata.name", ".metadata.namespace"}
    assert owned(once, "m") == spoken - ignored


@given(_OBJECTS)
def test_applying_what_was_got_changes_no_value(live: Object) -> None:
    kind = _kind(live)
    there = updated("other", None, live, kind)
    got = deepcopy(there)
    del got["metadata"]["managedFields"]
    made = applied("m", there, got, kind)
    del made["metadata"]["managedFields"]
    assert made == got


@given(st.one_of(st.tuples(_CONFIG, _CONFIG), st.tuples(_POD, _POD)))
def test_a_comparison_is_empty_exactly_for_equal_objects_and_its_parts_are_apart(
    pair: tuple[Object, Object],
) -> None:
    shape = shape_of(_kind(pair[0]).schema_name)
    found = compare(shape, *pair)
    if pair[0] == pair[1]:
        assert (found.added, found.modified, found.removed) == ({}, {}, {})
    assert not fieldset.intersection(found.added, found.modified)
    assert not fieldset.intersection(found.added, found.removed)
    back = compare(shape, pair[1], pair[0])
    assert (back.added, back.removed) == (found.removed, found.added)


_ELEMENTS = st.sampled_from(["f:a", "f:b", 'k:{"name":"a"}', 'v:"x"'])
_SETS = st.dictionaries(
    _ELEMENTS,
    st.recursive(
        st.just({}),
        lambda below: st.dictionaries(_ELEMENTS, below, min_size=1, max_size=3).flatmap(
            lambda node: st.sampled_from([node, {".": {}, **node}])
        ),
        max_leaves=6,
    ),
    max_size=4,
)


@given(_SETS, _SETS)
def test_the_algebra_of_sets(one: Object, other: Object) -> None:
    left, right = set(fieldset.paths(one)), set(fieldset.paths(other))
    assert set(fieldset.paths(fieldset.union(one, other))) == left | right
    assert set(fieldset.paths(fieldset.difference(one, other))) == left - right
    assert set(fieldset.paths(fieldset.intersection(one, other))) == left & right
    assert fieldset.is_well_formed(fieldset.union(one, other))


@given(_OBJECTS)
def test_removing_all_that_an_object_says_leaves_nothing_of_it(obj: Object) -> None:
    shape = shape_of(_kind(obj).schema_name)
    assert remove(shape, obj, field_set(shape, obj)) in (
        None,
        {"spec": {"containers": []}},
        {"metadata": {}},
    )
