"""Acting as somebody else (`kubectl --as`): headers that name whom, and RBAC that says whether one may.

Upstream's apiserver endpoints/filters/impersonation: each user, group, uid and extra value is asked for by itself.
"""

from urllib.parse import unquote

from multidict import CIMultiDictProxy

from minipod.api.errors import internal_error
from minipod.api.rbac.attributes import Attributes
from minipod.server.authorization import Authorizer
from minipod.server.identity import ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, Identity

_EXTRA = "impersonate-extra-"
_AUTHENTICATION = "authentication.k8s.io"
_ACCOUNT = "system:serviceaccount:"


def impersonate(
    identity: Identity, headers: CIMultiDictProxy[str], authorizer: Authorizer
) -> Identity:
    """Return whom a request acts as: the caller himself, or whom its headers name. Raises Forbidden."""
    user = headers.get("Impersonate-User", "")
    groups = headers.getall("Impersonate-Group", [])
    uid = headers.get("Impersonate-Uid", "")
    extra = _extra(headers)
    if not user:
        if groups or uid or extra:
            raise internal_error("groups, uid or extra were to be impersonated without a user")
        return identity
    for asked in _questions(user, groups, uid, extra):
        authorizer.authorize(identity, asked)
    return Identity(user, _groups(user, groups), uid, extra)


def _extra(headers: CIMultiDictProxy[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, value in headers.items():
        if name.lower().startswith(_EXTRA):
            key = unquote(name.lower()[len(_EXTRA) :])
            found[key] = (*found.get(key, ()), value)
    return found


def _questions(
    user: str, groups: list[str], uid: str, extra: dict[str, tuple[str, ...]]
) -> list[Attributes]:
    account = split_account(user)
    if account is not None:
        namespace, name = account
        asked = [Attributes("impersonate", "", "v1", "serviceaccounts", "", namespace, name)]
    else:
        asked = [Attributes("impersonate", "", "", "users", name=user)]
    asked += [Attributes("impersonate", "", "", "groups", name=group) for group in groups]
    asked += [
        Attributes("impersonate", _AUTHENTICATION, "v1", "userextras", key, name=value)
        for key, values in extra.items()
        for value in values
    ]
    if uid:
        asked.append(Attributes("impersonate", _AUTHENTICATION, "v1", "uids", name=uid))
    return asked


def _groups(user: str, given: list[str]) -> tuple[str, ...]:
    """Return the groups of whom is impersonated: an account's own unless others are named, and who knows him."""
    groups = list(given)
    account = split_account(user)
    if account is not None and not groups:
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{account[0]}"]
    if user == ANONYMOUS.user:
        if UNAUTHENTICATED not in groups:
            groups.append(UNAUTHENTICATED)
    elif AUTHENTICATED not in groups and UNAUTHENTICATED not in groups:
        groups.append(AUTHENTICATED)
    return tuple(groups)


def split_account(user: str) -> tuple[str, str] | None:
    """Return namespace and name of a ServiceAccount's user name; None for anybody else's."""
    if not user.startswith(_ACCOUNT):
        return None
    namespace, _, name = user[len(_ACCOUNT) :].partition(":")
    return (namespace, name) if namespace and name and ":" not in name else None
