import pytest

from minipod.api import kinds, selectors
from minipod.api.selectors import SelectorError, parse_fields, parse_labels
from tests.unit.api.objects import POD, pod

LABELS = {"app": "web", "tier": "front", "empty": "", "count": "5", "example.com/x": "y"}


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app=db", False),
        ("app!=db", True),
        ("missing!=x", True),
        ("app=web,tier=front", True),
        ("app=web,tier=back", False),
        ("app in (web, db)", True),
        ("app in (db)", False),
        ("app notin (db)", True),
        ("missing notin (a)", True),
        ("app", True),
        ("missing", False),
        ("!missing", True),
        ("!app", False),
        ("empty=", True),
        ("empty in ()", True),
        ("empty in (,x)", True),
        ("count>4", True),
        ("count<4", False),
        ("app>4", False),
        ("example.com/x=y", True),
        (" app = web , tier in ( front ) ", True),
    ],
)
def test_label_selectors_select(text, selected):
    assert parse_labels(text).matches(LABELS) is selected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,,b", "found ',', expected: identifier after ','"),
        ("a b", "found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a in b", "found 'b', expected: '('"),
        ("a in (b", "expected: ',' or ')'"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("=b", "found '=', expected: !, identifier"),
        ("a<b", "the value must be an integer"),
        ("-a=b", "name part must consist of alphanumeric"),
        ("a=-b", "a valid label must be an empty string or consist of"),
        ("a,", "expected: identifier after ','"),
    ],
)
def test_malformed_label_selectors_say_where(text, message):
    with pytest.raises(SelectorError, match=r".") as wrong:
        parse_labels(text)
    assert message in str(wrong.value)


def test_selector_objects_select_like_their_text():
    selector = selectors.from_object(
        {
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["front", "back"]},
                {"key": "missing", "operator": "DoesNotExist"},
            ],
        }
    )
    assert selector.matches(LABELS)
    assert not selector.matches({"app": "web"})
    with pytest.raises(SelectorError, match='"Near" is not a valid label selector operator'):
        selectors.from_object({"matchExpressions": [{"key": "a", "operator": "Near"}]})


def test_field_selectors_compare_what_the_kind_offers():
    obj = pod(nodeName="n1", hostNetwork=True)
    obj["status"] = {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}]}
    values = selectors.field_values(POD, obj)
    for text, selected in [
        ("spec.nodeName=n1,status.phase!=Failed", True),
        ("metadata.name=web,metadata.namespace=default", True),
        ("spec.hostNetwork=true", True),
        ("status.podIP=10.0.0.1", True),
        ("status.phase=Pending", False),
        ("spec.schedulerName=", True),
    ]:
        assert parse_fields(text, POD).matches(values) is selected, text


def test_fields_that_a_kind_does_not_offer_are_refused():
    with pytest.raises(SelectorError, match=r"^field label not supported: spec\.image$"):
        parse_fields("spec.image=x", POD)
    with pytest.raises(SelectorError, match=r"field label not supported: metadata\.namespace"):
        parse_fields("metadata.namespace=x", kinds.by_resource("nodes"))
    with pytest.raises(
        SelectorError, match=r'"data\.a" is not a known field selector: only "metadata'
    ):
        parse_fields("data.a=x", kinds.by_resource("configmaps"))
    with pytest.raises(SelectorError, match=r"invalid selector: 'metadata\.name'"):
        parse_fields("metadata.name", POD)


def test_escapes_in_field_selectors():
    secrets = kinds.by_resource("secrets")
    selector = parse_fields(r"type=a\,b\=c\\d", secrets)
    assert selector.terms == (("type", True, r"a,b=c\d"),)
    assert selector.required("type") == r"a,b=c\d"
    assert selector.required("metadata.name") is None
    for text in (r"type=a\x", "type=a=b"):
        with pytest.raises(SelectorError, match="invalid field selector"):
            parse_fields(text, secrets)


def test_one_predicate_for_both_or_none_for_everything():
    none = selectors.compile_selectors(POD, parse_labels(""), parse_fields("", POD))
    assert none is None
    both = selectors.compile_selectors(
        POD, parse_labels("app=web"), parse_fields("metadata.name=web", POD)
    )
    assert both is not None
    labelled = pod()
    labelled["metadata"]["labels"] = {"app": "web"}
    assert both(labelled)
    assert not both(pod())
