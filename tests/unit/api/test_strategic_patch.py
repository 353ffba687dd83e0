import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipod.api import patch
from tests.unit.api.objects import POD


def spec_patch(before, change):
    return patch.apply_strategic(POD.schema_name, {"spec": before}, {"spec": change})["spec"]


def named(*names, **fields):
    return [{"name": name, **fields} for name in names]


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        # objects merge, null removes, scalars replace
        (
            {"nodeSelector": {"a": "1"}},
            {"nodeSelector": {"b": "2"}},
            {"nodeSelector": {"a": "1", "b": "2"}},
        ),
        ({"nodeSelector": {"a": "1"}}, {"nodeSelector": {"a": None}}, {"nodeSelector": {}}),
        ({"hostname": "a"}, {"hostname": None, "subdomain": None}, {}),
        ({"hostname": "a"}, {"hostname": "b"}, {"hostname": "b"}),
        # lists with a merge key merge by it; what is new is appended
        (
            {"containers": [{"name": "a", "image": "1", "tty": True}]},
            {"containers": [{"name": "a", "image": "2"}, {"name": "b", "image": "3"}]},
            {"containers": [{"name": "a", "image": "2", "tty": True}, {"name": "b", "image": "3"}]},
        ),
        (
            {"containers": [{"name": "a", "ports": [{"containerPort": 1, "name": "x"}]}]},
            {
                "containers": [
                    {
                        "name": "a",
                        "ports": [{"containerPort": 2}, {"containerPort": 1, "name": None}],
                    }
                ]
            },
            {"containers": [{"name": "a", "ports": [{"containerPort": 2}, {"containerPort": 1}]}]},
        ),
        # lists without one are replaced
        (
            {"containers": [{"name": "a", "args": ["1", "2"]}]},
            {"containers": [{"name": "a", "args": ["3"]}]},
            {"containers": [{"name": "a", "args": ["3"]}]},
        ),
        (
            {"tolerations": [{"key": "a"}]},
            {"tolerations": [{"key": "b"}]},
            {"tolerations": [{"key": "b"}]},
        ),
        # directives
        (
            {"containers": named("a", "b", "c")},
            {"containers": [{"name": "b", "$patch": "delete"}]},
            {"containers": named("a", "c")},
        ),
        (
            {"containers": named("a", "b")},
            {"containers": [{"$patch": "replace"}, {"name": "z"}]},
            {"containers": named("z")},
        ),
        ({"securityContext": {"fsGroup": 1}}, {"securityContext": {"$patch": "delete"}}, {}),
        (
            {"securityContext": {"fsGroup": 1}},
            {"securityContext": {"$patch": "replace", "runAsUser": 2}},
            {"securityContext": {"runAsUser": 2}},
        ),
        (
            {"volumes": [{"name": "v", "emptyDir": {}}]},
            {
                "volumes": [
                    {"$retainKeys": ["name", "hostPath"], "name": "v", "hostPath": {"path": "/a"}}
                ]
            },
            {"volumes": [{"name": "v", "hostPath": {"path": "/a"}}]},
        ),
        # order
        (
            {"containers": named("a", "b", "c")},
            {"$setElementOrder/containers": named("c", "a")},
            {"containers": named("b", "c", "a")},
        ),
        (
            {"containers": named("a", "server")},
            {"$setElementOrder/containers": named("b", "a"), "containers": named("b")},
            {"containers": named("b", "a", "server")},
        ),
        (
            {"containers": named("a", "b")},
            {"containers": named("b", "a", tty=True)},
            {"containers": named("b", "a", tty=True)},
        ),
        # what is new has no directives and no nulls left in it
        (
            {},
            {
                "containers": [
                    {
                        "name": "a",
                        "image": None,
                        "ports": [{"containerPort": 1, "$patch": "delete"}],
                    }
                ]
            },
            {"containers": [{"name": "a", "ports": []}]},
        ),
    ],
)
def test_pod_specs(before, change, after):
    assert spec_patch(before, change) == after


def test_lists_of_scalars_merge_as_sets():
    before = {"metadata": {"finalizers": ["a", "b"]}}

    def patched(change):
        return patch.apply_strategic(POD.schema_name, before, {"metadata": change})["metadata"][
            "finalizers"
        ]

    assert patched({"finalizers": ["b", "c"]}) == ["a", "b", "c"]
    assert patched({"$deleteFromPrimitiveList/finalizers": ["a", "x"]}) == ["b"]
    assert patched({"$setElementOrder/finalizers": ["c", "b", "a"], "finalizers": ["c"]}) == [
        "c",
        "b",
        "a",
    ]
    assert before == {"metadata": {"finalizers": ["a", "b"]}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"containers": [{"image": "x", "args": ["a", None], "tty": True}]},
            "map: map[args:[a <nil>] image:x tty:true] does not contain declared merge key: name",
        ),
        (
            {"containers": [{"name": "a", "$patch": "magic"}]},
            "unknown patch type: magic found in list",
        ),
        ({"securityContext": {"$patch": "magic"}}, "unknown patch type: magic found in map"),
        (
            {"$setElementOrder/containers": [], "containers": [{"name": "a"}]},
            "doesn't match $setElementOrder list",
        ),
        (
            {"$retainKeys": ["a"], "hostname": "x"},
            "all keys in patch must be in the $retainKeys list",
        ),
        ({"$deleteFromPrimitiveList/x": "a"}, "expected a list under"),
    ],
)
def test_malformed_patches(change, message):
    with pytest.raises(patch.PatchError) as wrong:
        spec_patch({}, change)
    assert message in str(wrong.value)


# Laws, over objects that have the shape of Pods.

LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["1", "2"]), max_size=3)
CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["a", "b", "c"]), "image": st.sampled_from(["1", "2"])},
        optional={"args": st.lists(st.sampled_from("xy"), max_size=2)},
    ),
    max_size=3,
    unique_by=lambda each: each["name"],
)
PODS = st.fixed_dictionaries(
    {"metadata": st.fixed_dictionaries({"name": st.just("p"), "labels": LABELS, "finalizers": st.lists(
        st.sampled_from(["a.b/1", "a.b/2", "a.b/3"]), unique=True)})},
    optional={"spec": st.fixed_dictionaries({"containers": CONTAINERS}, optional={"hostname": st.just("h")})},
)  # fmt: skip


@given(PODS)
def test_an_empty_patch_is_identity(obj):
    assert patch.apply_strategic(POD.schema_name, obj, {}) == obj
    assert patch.apply_merge(obj, {}) == obj
    assert patch.apply_json(obj, []) == obj


@given(PODS, PODS)
def test_patching_twice_is_patching_once(obj, change):
    for apply in (
        lambda old: patch.apply_strategic(POD.schema_name, old, change),
        lambda old: patch.apply_merge(old, change),
    ):
        once = apply(obj)
        assert apply(once) == once


@given(PODS)
def test_an_object_patched_with_itself_is_itself(obj):
    assert patch.apply_strategic(POD.schema_name, obj, obj) == obj


@given(PODS, PODS, PODS)
def test_three_way_reaches_what_is_wanted_and_keeps_what_others_set(original, modified, current):
    change = patch.three_way("v1", "Pod", original, modified, current)
    after = patch.apply_strategic(POD.schema_name, current, change)
    assert patch.three_way("v1", "Pod", modified, modified, after) == {}
    labels, wanted = after["metadata"].get("labels", {}), modified["metadata"]["labels"]
    assert wanted.items() <= labels.items()
    for key, value in current["metadata"]["labels"].items():
        if key not in wanted and key not in original["metadata"]["labels"]:
            assert labels[key] == value
        elif key not in wanted:
            assert key not in labels
    names = [each["name"] for each in after.get("spec", {}).get("containers", [])]
    for each in modified.get("spec", {}).get("containers", []):
        assert each["name"] in names


@given(PODS, PODS)
def test_three_way_of_the_same_is_nothing(original, obj):
    assert patch.three_way("v1", "Pod", obj, obj, obj) == {}
    assert patch.three_way("v1", "Pod", None, obj, obj) == {}


# Three ways, by example.


def test_apply_changes_what_the_user_changed_and_nothing_else():
    original = {
        "metadata": {"labels": {"a": "1", "gone": "x"}},
        "spec": {"containers": named("main", "old")},
    }
    modified = {
        "metadata": {"labels": {"a": "2"}},
        "spec": {"containers": [{"name": "main", "image": "new"}]},
    }
    current = {
        "metadata": {"labels": {"a": "1", "gone": "x", "other": "y"}, "uid": "u"},
        "spec": {
            "containers": [
                {"name": "main", "image": "was", "tty": True},
                {"name": "old"},
                {"name": "injected"},
            ]
        },
    }
    change = patch.three_way("v1", "Pod", original, modified, current)
    assert change == {
        "metadata": {"labels": {"a": "2", "gone": None}},
        "spec": {
            "$setElementOrder/containers": [{"name": "main"}],
            "containers": [{"image": "new", "name": "main"}, {"$patch": "delete", "name": "old"}],
        },
    }
    after = patch.apply_strategic(POD.schema_name, current, change)
    assert after["metadata"] == {"labels": {"a": "2", "other": "y"}, "uid": "u"}
    assert [each["name"] for each in after["spec"]["containers"]] == ["main", "injected"]
    assert after["spec"]["containers"][0]["tty"] is True


def test_a_null_that_is_there_already_is_no_change():
    condition = {"type": "Ready", "status": "True", "lastProbeTime": None}
    told = {"metadata": {"name": "p"}, "status": {"conditions": [condition]}}
    assert patch.three_way("v1", "Pod", told, told, told) == {}
    assert patch.three_way("v1", "Pod", None, told, told) == {}
    timed = {**told, "status": {"conditions": [{**condition, "lastProbeTime": "then"}]}}
    [change] = patch.three_way("v1", "Pod", None, told, timed)["status"]["conditions"]
    assert change == {"type": "Ready", "lastProbeTime": None}


def test_a_volume_that_changes_its_kind_loses_the_old_one():
    original = {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}
    modified = {"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/a"}}]}}
    change = patch.three_way("v1", "Pod", original, modified, original)
    assert change["spec"]["volumes"] == [
        {"$retainKeys": ["hostPath", "name"], "hostPath": {"path": "/a"}, "name": "v"}
    ]
    after = patch.apply_strategic(POD.schema_name, original, change)
    assert after == modified


def test_elements_that_share_a_key_are_left_alone_or_replaced_together():
    def ports(*protocols, **defaults):
        made = [{"containerPort": 53, "protocol": each, **defaults} for each in protocols]
        return {"spec": {"containers": [{"name": "dns", "ports": made}]}}

    wanted = ports("TCP", "UDP")
    assert patch.three_way("v1", "Pod", wanted, wanted, ports("TCP", "UDP", hostIP="")) == {}
    change = patch.three_way("v1", "Pod", wanted, wanted, ports("TCP"))
    assert patch.apply_strategic(POD.schema_name, ports("TCP"), change) == wanted


def test_quantities_are_compared_as_text():
    one = {"spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": 1}}}]}}
    other = {"spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": "1"}}}]}}
    assert patch.three_way("v1", "Pod", one, one, other) == {}


def test_kinds_without_a_schema_get_a_merge_patch():
    modified, current = {"spec": {"list": [2]}}, {"spec": {"list": [1], "kept": 1}}
    change = patch.three_way("example.com/v1", "Widget", {"spec": {"gone": 1}}, modified, current)
    assert change == {"spec": {"list": [2]}}
    assert patch.apply_merge(current, change) == {"spec": {"list": [2], "kept": 1}}


# JSON patch and merge patch.


def test_merge_patch_examples_of_the_rfc():
    for target, change, result in [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ]:
        assert patch.apply_merge(target, change) == result


def test_json_patch_changes_a_copy():
    obj = {"a": {"b": [1, 2]}}
    operations = [
        {"op": "test", "path": "/a/b/0", "value": 1},
        {"op": "add", "path": "/a/b/-", "value": 3},
        {"op": "remove", "path": "/a/b/0"},
        {"op": "move", "from": "/a/b", "path": "/c"},
    ]
    assert patch.apply_json(obj, operations) == {"a": {}, "c": [2, 3]}
    assert obj == {"a": {"b": [1, 2]}}


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ({"op": "test", "path": "/a", "value": 2}, "testing value /a failed: test failed"),
        (
            {"op": "remove", "path": "/x/y"},
            'remove operation does not apply: doc is missing path: "/x/y": missing value',
        ),
        (
            {"op": "remove", "path": "/x"},
            "error in remove for path: '/x': Unable to remove nonexistent key: x: missing value",
        ),
        (
            {"op": "replace", "path": "/x/y", "value": 1},
            "replace operation does not apply: doc is missing path: /x/y: missing value",
        ),
        (
            {"op": "replace", "path": "/l/3", "value": 1},
            "replace operation does not apply: doc is missing key: /l/3: missing value",
        ),
        (
            {"op": "add", "path": "/l/3", "value": 1},
            "error in add for path: '/l/3': Unable to access invalid index: 3: invalid index referenced",
        ),
        (
            {"op": "test", "path": "/x/y", "value": 1},
            "test operation does not apply: is missing path: /x/y: missing value",
        ),
        ({"op": "test", "path": "/x", "value": 1}, "testing value /x failed: test failed"),
        (
            {"op": "move", "from": "/x", "path": "/y"},
            "error in move for path: 'x': Unable to remove nonexistent key: x: missing value",
        ),
        (
            {"op": "copy", "from": "/x/y", "path": "/y"},
            "copy operation does not apply: doc is missing from path: /x/y: missing value",
        ),
        (
            {"op": "copy", "from": "/a", "path": "/x/y"},
            "copy operation does not apply: doc is missing destination path: /x/y: missing value",
        ),
        (
            {"op": "add", "path": "/x/y", "value": 1},
            'add operation does not apply: doc is missing path: "/x/y": missing value',
        ),
        ({"op": "jump", "path": "/x"}, "Unexpected kind: jump"),
        ({"op": "add", "path": "/x"}, "add operation does not apply: missing value"),
        ({"op": "add"}, "add operation does not apply: missing path"),
        ({"op": "add", "path": "x", "value": 1}, "add operation does not apply"),
    ],
)
def test_json_patches_that_do_not_fit(operation, message):
    with pytest.raises(patch.PatchError) as wrong:
        patch.apply_json({"a": 1, "l": [1]}, [operation])
    assert message in str(wrong.value)
    assert not wrong.value.fits


def test_json_patches_are_as_lenient_as_upstreams():
    lenient = [
        {"op": "test", "path": "/x", "value": None},
        {"op": "replace", "path": "/x~1y", "value": 1},
        {"op": "replace", "path": "/l/0", "value": {}},
        {"op": "replace", "path": "/l/0/n", "value": 2},
    ]
    assert patch.apply_json({"l": [0]}, lenient) == {"l": [{"n": 2}], "x/y": 1}


def test_malformed_json_patches():
    with pytest.raises(patch.PatchError, match="cannot unmarshal") as wrong:
        patch.apply_json({}, {"op": "add"})
    assert wrong.value.fits
    with pytest.raises(patch.PatchTooLarge, match="operations in a JSON patch is 10000, got 10001"):
        patch.apply_json({}, [{"op": "test", "path": "", "value": 1}] * 10001)
