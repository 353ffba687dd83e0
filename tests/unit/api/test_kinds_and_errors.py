import pytest

from minipod.api import errors, kinds
from minipod.api.field import invalid, not_supported, required, too_many
from minipod.api.kind import Kind

WIDGET = Kind("example.com", "v1", "Widget", "widgets", short_names=("wd",))
POD = kinds.by_resource("pods")


def test_kinds_are_found_by_each_of_their_names():
    assert kinds.by_kind("v1", "Pod") is POD
    assert kinds.by_path("", "v1", "pods") is POD
    assert {kind.kind for kind in kinds.all_kinds()} >= {
        "Namespace",
        "Node",
        "Pod",
        "Event",
        "Secret",
        "ConfigMap",
        "ServiceAccount",
    }
    everything = {kind.plural for kind in kinds.all_kinds() if "all" in kind.categories}
    assert everything >= {"pods", "deployments", "replicasets", "jobs", "cronjobs"}
    assert not everything & {"configmaps", "secrets", "events"}
    assert POD.subresource("exec").verbs == ("create", "get")
    assert POD.subresource("nothing") is None


def test_the_registry_is_open():
    kinds.register(WIDGET)
    try:
        assert kinds.by_resource("widgets.example.com") is WIDGET
        assert kinds.by_kind("example.com/v1", "Widget").singular_name == "widget"
        assert WIDGET.list_kind == "WidgetList"
        newer = Kind("example.com", "v2", "Widget", "widgets")
        kinds.register(newer)
        assert kinds.by_resource("widgets.example.com") is WIDGET
        kinds.unregister(WIDGET)
        assert kinds.by_resource("widgets.example.com") is newer
        kinds.unregister(newer)
    finally:
        kinds.unregister(WIDGET)
    for find in (
        lambda: kinds.by_resource("widgets.example.com"),
        lambda: kinds.by_kind("example.com/v1", "Widget"),
        lambda: kinds.by_path("example.com", "v1", "widgets"),
    ):
        with pytest.raises(kinds.UnknownKind):
            find()


def test_one_cause_reads_as_upstream_writes_it():
    error = errors.invalid(POD, "x", [required("spec.containers[0].image")])
    assert error.message == 'Pod "x" is invalid: spec.containers[0].image: Required value'
    assert (error.code, error.reason) == (422, "Invalid")
    assert error.status["details"] == {
        "name": "x",
        "kind": "Pod",
        "causes": [
            {
                "reason": "FieldValueRequired",
                "message": "Required value",
                "field": "spec.containers[0].image",
            }
        ],
    }


def test_many_causes_are_bracketed_and_each_told_once():
    causes = [
        invalid("a", "x", "must be y"),
        invalid("a", "x", "must be y"),
        not_supported("b", "Q", ("A", "Z")),
        too_many("c", 5, 3),
    ]
    assert errors.invalid(WIDGET, "w", causes).message == (
        'Widget.example.com "w" is invalid: [a: Invalid value: "x": must be y, '
        'b: Unsupported value: "Q": supported values: "A", "Z", c: Too many: 5: must have at most 3 items]'
    )


@pytest.mark.parametrize(
    ("error", "code", "reason", "message"),
    [
        (errors.not_found(POD, "x"), 404, "NotFound", 'pods "x" not found'),
        (errors.not_found(WIDGET, "x"), 404, "NotFound", 'widgets.example.com "x" not found'),
        (errors.already_exists(POD, "x"), 409, "AlreadyExists", 'pods "x" already exists'),
        (
            errors.conflict(POD, "x"),
            409,
            "Conflict",
            'Operation cannot be fulfilled on pods "x": the object has been modified; please apply your changes to '
            "the latest version and try again",
        ),
        (errors.forbidden(POD, "x", "no"), 403, "Forbidden", 'pods "x" is forbidden: no'),
        (errors.forbidden(POD, "", "no"), 403, "Forbidden", "pods is forbidden: no"),
        (errors.unauthorized(), 401, "Unauthorized", "Unauthorized"),
        (errors.bad_request("what"), 400, "BadRequest", "what"),
        (
            errors.not_decodable(POD, "strict decoding error: x"),
            400,
            "BadRequest",
            'Pod in version "v1" cannot be handled as a Pod: strict decoding error: x',
        ),
        (
            errors.resource_version_too_old(3, 9),
            410,
            "Expired",
            "too old resource version: 3 (9)",
        ),
        (
            errors.method_not_supported(POD, "deletecollection"),
            405,
            "MethodNotAllowed",
            'deletecollection is not supported on resources of kind "pods"',
        ),
        (
            errors.page_not_found(),
            404,
            "NotFound",
            "the server could not find the requested resource",
        ),
        (
            errors.unsupported_media_type(["a/b", "c/d"]),
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: a/b, c/d",
        ),
        (
            errors.not_acceptable(["a/b"]),
            406,
            "NotAcceptable",
            "only the following media types are accepted: a/b",
        ),
        (errors.internal_error("x"), 500, "InternalError", "Internal error occurred: x"),
        (errors.too_large("x"), 413, "RequestEntityTooLarge", "Request entity is too large: x"),
        (errors.too_many_requests("x"), 429, "TooManyRequests", "x"),
        (errors.service_unavailable("x"), 503, "ServiceUnavailable", "x"),
        (errors.timeout("x"), 504, "Timeout", "Timeout: x"),
    ],
)
def test_wording_code_and_reason(error, code, reason, message):
    assert (error.code, error.reason, error.message) == (code, reason, message)
    assert error.status["status"] == "Failure"
    assert error.status["kind"] == "Status"


def test_details_name_the_resource_and_its_group():
    assert errors.not_found(WIDGET, "x").status["details"] == {
        "name": "x",
        "group": "example.com",
        "kind": "widgets",
    }
    assert errors.generate_name_conflict(POD, "x").status["details"]["retryAfterSeconds"] == 1
