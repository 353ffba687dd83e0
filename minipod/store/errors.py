"""What can go wrong in the store. Every message is one line: the culprit quoted, the reason, the way out."""


class StoreError(Exception):
    """Root of every failure of the store."""


class Compacted(StoreError):
    """The history after `revision` is no longer kept: list again, then watch from there."""

    def __init__(self, revision: int, oldest: int) -> None:
        super().__init__(f"revision {revision} is compacted, the oldest kept is {oldest}")
        self.revision = revision
        self.oldest = oldest


class Conflict(StoreError):
    """A compare-and-swap lost: `actual` is the key's revision now (0: it does not exist)."""

    def __init__(self, key: str, expected: int, actual: int) -> None:
        super().__init__(f'"{key}" is at revision {actual}, not {expected}')
        self.key = key
        self.expected = expected
        self.actual = actual


class CommitFailed(StoreError):
    """The transaction of this write failed (disk full, I/O error): nothing of it was stored."""


class InDoubt(StoreError):
    """The transaction of this write failed on its way to the disk, and could not be taken back.

    Nobody sees it, and nothing else is written until it has been; only a store opened before that may find it.
    """


class Unusable(StoreError):
    """The database cannot be opened: locked by another daemon, corrupt, or not a store."""


class Unreadable(StoreError):
    """A stored value cannot be opened: it is kept as it is, neither read nor written over."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f'unable to transform key "{key}": {reason}')
        self.key = key


class Damaged(StoreError):
    """A stored value is not what was once written: it is kept as it is, neither read nor written over."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(
            f'the stored value of "{key}" is damaged ({reason}); restore a copy of the store, or remove the value '
            f"while minipod is down: DELETE FROM log WHERE key = '{key}'"
        )
        self.key = key


class Closed(StoreError):
    """The store is closing: nothing of this write was stored."""

    def __init__(self) -> None:
        super().__init__("the store is closed")
