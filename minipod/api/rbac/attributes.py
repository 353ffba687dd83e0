"""What authorization asks about: who wants to do what to which resource or path (authorizer.Attributes)."""

from dataclasses import dataclass

_NAMED_BY_FIELD = ("list", "watch")


@dataclass(frozen=True, slots=True)
class Attributes:
    """One question. A request on resources has a `resource` (the plural, without its group), any other a `path`."""

    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    field_selector: str = ""

    def selects(self, field: str) -> str:
        """Return the value that the field selector demands of a field, "" for none."""
        return _selected(self.field_selector, field)

    @property
    def combined_resource(self) -> str:
        """`pods`, or `pods/log`."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def resource_attributes(
    verb: str,
    resource: str,
    namespace: str,
    name: str,
    subresource: str = "",
    *,
    version: str = "",
    field_selector: str = "",
) -> Attributes:
    """Return the question behind a request on `resource`, which has its group behind its name.

    As upstream's RequestInfo: a namespace is in itself, and a list or watch of one name is of that name.
    """
    plural, _, group = resource.partition(".")
    if plural == "namespaces" and not group and name:
        namespace = name
    if not name and verb in _NAMED_BY_FIELD:
        name = _selected(field_selector, "metadata.name")
    return Attributes(
        verb, group, version, plural, subresource, namespace, name, field_selector=field_selector
    )


def _selected(field_selector: str, field: str) -> str:
    for term in field_selector.split(","):
        key, equals, value = term.partition("=")
        if equals and key == field:
            return value.removeprefix("=")
    return ""


def forbidden_reason(user: str, asked: Attributes) -> str:
    """Return why a request is refused, in upstream's words (apiserver's responsewriters.ForbiddenStatusError)."""
    if asked.path:
        return f'User "{user}" cannot {asked.verb} path "{asked.path}"'
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    return (
        f'User "{user}" cannot {asked.verb} resource "{asked.combined_resource}" '
        f'in API group "{asked.group}" {where}'
    )
