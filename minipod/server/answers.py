"""What a verb answers, before anybody has chosen a representation: encoded objects, not yet a response."""

from dataclasses import dataclass, field

from minipod.api.kind import Kind
from minipod.client import Object
from minipod.server import wire


@dataclass(frozen=True, slots=True)
class One:
    """One encoded object. `kind` is None for what is not an object of a kind (a Status)."""

    value: bytes
    kind: Kind | None = None
    code: int = 200
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Many:
    """The encoded items of a list at one revision, and where the next page begins."""

    kind: Kind
    items: list[bytes]
    revision: int
    token: str = ""
    remaining: int = 0
    warnings: tuple[str, ...] = field(default=())
    code: int = 200

    @property
    def value(self) -> bytes:
        """The encoded List."""
        metadata: Object = {"resourceVersion": str(self.revision)}
        if self.token:
            metadata["continue"] = self.token
            if self.remaining:
                metadata["remainingItemCount"] = self.remaining
        head = wire.encode(
            {
                "kind": self.kind.list_kind,
                "apiVersion": self.kind.api_version,
                "metadata": metadata,
            }
        )
        return head[:-1] + b',"items":[' + b",".join(self.items) + b"]}"


Answer = One | Many


def success(kind: Kind, name: str, uid: str = "", *, code: int = 200) -> One:
    """Return the Status that a completed deletion or binding answers."""
    status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if name:
        status["details"] = {"name": name, "kind": kind.plural}
        if kind.group:
            status["details"]["group"] = kind.group
        if uid:
            status["details"]["uid"] = uid
    if code != 200:
        status["code"] = code
    return One(wire.encode(status), None, code)
