"""What the generic verbs must know of a kind: its names, its place in the API, and what is special about it.

A kind is a declaration. The registry is in `kinds`, the built-in declarations in `core`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from typing import Any, cast

from minipod.api.field import Cause

Object = dict[str, Any]

ALL_VERBS = (
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
)


@dataclass(frozen=True)
class Column:
    """One column of a Table (metav1.TableColumnDefinition). Priority 1 and above is shown with `-o wide`."""

    name: str
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0


@dataclass(frozen=True)
class Subresource:
    """One subresource, as discovery lists it. `kind` is what its body holds."""

    name: str
    kind: str
    verbs: tuple[str, ...]
    group: str = ""
    version: str = ""


def _nothing(_obj: Object) -> None:
    """Change nothing."""


def _keep(_new: Object, _old: Object) -> None:
    """Change nothing."""


def _valid(_obj: Object) -> list[Cause]:
    return []


def _valid_change(_new: Object, _old: Object) -> list[Cause]:
    return []


def _no_fields(_obj: Object) -> Mapping[str, str]:
    return {}


def _no_warnings(_obj: Object) -> list[str]:
    return []


def _no_change_warnings(_new: Object, _old: Object) -> list[str]:
    return []


def _same(obj: Object) -> Object:
    return obj


@dataclass(frozen=True)
class Scale:
    """Where a kind that can be scaled keeps what autoscaling/v1 Scale shows: paths with dots, as in a definition."""

    replicas: str = "spec.replicas"
    status: str = "status.replicas"
    selector: str = "spec.selector"  # a LabelSelector, a map of labels, or a selector as text


@dataclass(frozen=True)
class Hooks:
    """What is special about a kind. Each hook has a default that does nothing; metadata is not their concern.

    `defaults`, `prepare_*` change the object in place; `validate_*` only look. `prepare_*` run after decoding and
    defaulting, before validation (upstream's create and update strategies).
    """

    defaults: Callable[[Object], None] = _nothing
    prepare_create: Callable[[Object], None] = _nothing
    prepare_update: Callable[[Object, Object], None] = _keep
    prepare_status_update: Callable[[Object, Object], None] = _keep
    validate_create: Callable[[Object], list[Cause]] = _valid
    validate_update: Callable[[Object, Object], list[Cause]] = _valid_change
    validate_status_update: Callable[[Object, Object], list[Cause]] = _valid_change
    # Field selector values beyond metadata.name and metadata.namespace; its keys are what can be selected by.
    fields: Callable[[Object], Mapping[str, str]] = _no_fields
    # What the sender of a valid new object should know; what is not supported is told of by `warnings` already.
    warnings: Callable[[Object], list[str]] = _no_warnings
    # The same for the sender of a valid change of it; and of a change of its status.
    update_warnings: Callable[[Object, Object], list[str]] = _no_change_warnings
    status_warnings: Callable[[Object], list[str]] = _no_warnings
    columns: tuple[Column, ...] = ()
    cells: Callable[[Object, datetime], list[Any]] | None = None
    # The objects of a kind that nobody stores: they are made anew for every reader.
    computed: Callable[[], list[Object]] | None = None
    # Of a kind that is kept as another (`Kind.stored_as`): the same object as that kind, and back. Pure.
    to_stored: Callable[[Object], Object] = _same
    from_stored: Callable[[Object], Object] = _same


class _HooksElsewhere:
    """Hooks that are loaded when one of them is first asked for: most kinds are not used by most processes."""

    def __init__(self, module: str, name: str) -> None:
        self._where = (module, name)

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        module, name = self._where
        self.__dict__.update(vars(getattr(import_module(module), name)))
        return self.__dict__[attribute]


def hooks_in(module: str, name: str = "HOOKS") -> Hooks:
    """Return the Hooks that are called `name` in a module, which is loaded with their first use."""
    return cast(Hooks, _HooksElsewhere(module, name))


@dataclass(frozen=True)
class Kind:
    """One kind of object that the API serves.

    `schema_name` names its definition in `schema` ("" for none: any content is accepted). `has_status` says that
    status is a subresource, which create and update leave alone, and `zero_status` what a status has at least: the
    fields that upstream's always show. `generation` says that metadata.generation counts
    changes of the spec. `name_rule` names the function of `names` that a name must satisfy. `orphans_dependents`
    says that a delete that does not say what becomes of the dependents sets them free, as of old.
    `create_on_update` says that an update makes an object that is not there, `unconditional_update` that it need
    not say of which version it is the next. `scale` says that the scale subresource is there, and what it shows.
    `stored_as` is (group, version, plural) of the kind that keeps its objects when it is not itself: one object,
    served in several versions or groups. `computed` says that its objects are stored nowhere (`Hooks.computed`).
    `deprecation` is what whoever uses it at all is warned of.
    """

    group: str
    version: str
    kind: str
    plural: str
    singular: str = ""
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: tuple[Subresource, ...] = ()
    schema_name: str = ""
    has_status: bool = False
    generation: bool = False
    graceful_deletion: bool = False
    orphans_dependents: bool = False
    create_on_update: bool = False
    unconditional_update: bool = True
    name_rule: str = "dns1123_subdomain"
    scale: Scale | None = None
    stored_as: tuple[str, str, str] | None = None
    computed: bool = False
    deprecation: str = ""
    zero_status: Object = field(default_factory=dict, compare=False, repr=False)
    hooks: Hooks = field(default_factory=Hooks, compare=False, repr=False)

    @property
    def api_version(self) -> str:
        """`v1`, or `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """The plural name with its group where it has one: `pods`, `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def stored_resource(self) -> str:
        """The resource under which the store has its objects."""
        if self.stored_as is None:
            return self.resource
        group, _, plural = self.stored_as
        return f"{plural}.{group}" if group else plural

    @property
    def singular_name(self) -> str:
        """The singular name, which is the kind in lower case unless declared otherwise."""
        return self.singular or self.kind.lower()

    @property
    def list_kind(self) -> str:
        """The kind of a list of these."""
        return f"{self.kind}List"

    def subresource(self, name: str) -> Subresource | None:
        """Return the subresource of that name, or None."""
        return next((each for each in self.subresources if each.name == name), None)
