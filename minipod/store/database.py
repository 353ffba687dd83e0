"""The SQLite file: one append-only log of versions, locked to one process.

Table `log` holds every version still kept; a key's current value is its newest row, unless that row is a deletion.
`previous` names the row it replaced, which makes compaction and replay a walk over revisions, without another index.
Everything up to `meta.compacted` has lost its superseded rows.

Durability: WAL with synchronous=FULL, so a commit is on disk before it is acknowledged
(https://www.sqlite.org/pragma.html#pragma_synchronous). A commit that fails may still have left all of its frames in
the log: they are overwritten by a commit of our own before anybody is told that the write has failed, and until that
works nothing else is written (docs/decisions/0008).
"""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from minipod import fault
from minipod.store.errors import InDoubt, Unusable
from minipod.store.model import Entry, Event
from minipod.store.sealing import Condition, NoSeal, Seal, Unopened

FindDamage = Callable[[bytes], str]  # returns why a value cannot have been written, "" when it can

APPLICATION_ID = 0x6D706F64  # "mpod" in the file's header tells our files from anybody else's
SCHEMA_VERSION = 1

_SCHEMA = (
    "CREATE TABLE log (revision INTEGER PRIMARY KEY, key TEXT NOT NULL, previous INTEGER NOT NULL,"
    " deleted INTEGER NOT NULL, value BLOB NOT NULL)",
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    "INSERT INTO meta VALUES ('compacted', 0)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)
_COMPACTED = "SELECT value FROM meta WHERE name = 'compacted'"
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
REWRITE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """One version as the log keeps it; `previous` is 0 when the key did not exist before."""

    revision: int
    key: str
    previous: int
    deleted: bool
    value: bytes


@dataclass(frozen=True)
class Loaded:
    """What a database held when it was opened."""

    entries: list[Entry]
    revision: int
    compacted: int
    condition: Condition


class Database:
    """The writer's connection and the lock. Used by one thread at a time, except `replay`."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: int, seal: Seal) -> None:
        self._path = path
        self._connection = connection
        self._lock = lock
        self._seal = seal
        self._settled = True  # the log ends with what was acknowledged

    @classmethod
    def open(cls, path: Path, seal: Seal | None = None) -> "Database":
        """Lock and open the database at `path`, made if it is missing. Raises Unusable."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = _acquire_lock(path)
        try:
            connection = _connect(path)
        except BaseException:
            os.close(lock)
            raise
        if (
            seal is not None
        ):  # what was deleted is overwritten with zeroes, also in the file's free pages
            connection.execute("PRAGMA secure_delete = ON").fetchall()
        return cls(path, connection, lock, seal or NoSeal())

    def load(self, find_damage: FindDamage = lambda value: "") -> Loaded:
        """Read every key's newest version. Raises Unusable when the file is damaged.

        A single value that `find_damage` finds fault with is left where it is, and named.
        """
        try:
            compacted = self._compacted()
            entries: dict[str, Entry] = {}
            revision = compacted
            for row in self._connection.execute(
                "SELECT revision, key, deleted, value FROM log ORDER BY revision"
            ):
                revision, key, deleted, value = row
                entries.pop(key, None)
                if not deleted:
                    entries[key] = Entry(key, revision, value)
        except sqlite3.DatabaseError as error:
            raise _unreadable(self._path, error) from error
        opened, condition = self._open_all(entries.values(), find_damage)
        return Loaded(opened, max(revision, compacted), compacted, condition)

    def _open_all(
        self, stored: Iterable[Entry], find_damage: FindDamage
    ) -> tuple[list[Entry], Condition]:
        """Open what was stored; what cannot be opened is left where it is, and named."""
        entries, condition = [], Condition()
        for entry in stored:
            try:
                opened = self._seal.open(entry.key, entry.value)
            except Unopened as reason:
                condition.unreadable[entry.key] = str(reason)
                continue
            if damage := find_damage(opened.value):
                condition.damaged[entry.key] = damage
                continue
            entries.append(Entry(entry.key, entry.revision, opened.value))
            if opened.stale:
                condition.stale.add(entry.key)
        return entries, condition

    def append(self, rows: Iterable[Row]) -> None:
        """Commit all rows or none; they are on disk when this returns.

        Raises sqlite3.Error or OSError: none of them is stored, nor will be after a power cut. Raises InDoubt.
        """
        self._settle()
        try:
            self._commit(rows)
        except sqlite3.Error as error:
            if _is_full(error):
                self._make_room()
            else:
                self._take_back(error)
            raise

    def _commit(self, rows: Iterable[Row]) -> None:
        with self._transaction():
            self._connection.executemany(
                "INSERT INTO log VALUES (?, ?, ?, ?, ?)",
                (
                    (*(row.revision, row.key, row.previous, row.deleted), self._sealed(row))
                    for row in rows
                ),
            )
            fault.point("store.before-commit")
        fault.point("store.after-commit")

    def _sealed(self, row: Row) -> bytes:
        return self._seal.close(row.key, row.value)

    def _take_back(self, error: sqlite3.Error) -> None:
        """After a commit that may have reached the disk: see to it that it has not. Raises InDoubt when that fails too.

        What failed is in the log beyond its end, whole perhaps, and would be found there after a power cut.
        """
        self._settled = False
        try:
            self._settle()
        except sqlite3.Error:
            raise InDoubt(
                f"{error}; whether it was stored shows once the disk can be written again"
            ) from error

    def _settle(self) -> None:
        """Overwrite, durably, the beginning of what a failed commit has left: the frames behind it are void then."""
        if self._settled:
            return
        with self._transaction():
            self._connection.execute(
                "INSERT INTO meta VALUES ('settled', 1)"
                " ON CONFLICT (name) DO UPDATE SET value = value + 1"
            )
        self._settled = True

    def compact(self, since: int, until: int) -> None:
        """Forget what the versions in (since, until] replaced, and the deletions among them."""
        span = (since, until)
        with self._transaction():
            self._connection.execute(
                "DELETE FROM log WHERE revision IN (SELECT previous FROM log"
                " WHERE revision > ? AND revision <= ? AND previous > 0)",
                span,
            )
            self._connection.execute(
                "DELETE FROM log WHERE revision > ? AND revision <= ? AND deleted", span
            )
            self._connection.execute("UPDATE meta SET value = ? WHERE name = 'compacted'", (until,))
            fault.point("store.compaction")
        if not isinstance(self._seal, NoSeal):  # the log beside the file has them too
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _make_room(self) -> None:
        """When the disk was full: fold the log into the file so that the next commit starts at its beginning.

        Only with space for all of it: a fold that ends half-way has taken what the next commit would need.
        """
        log = self._path.with_name(f"{self._path.name}-wal")
        try:
            space = os.statvfs(self._path.parent)
            if space.f_bavail * space.f_frsize < log.stat().st_size:
                return
        except OSError:
            return
        try:
            self._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
        except sqlite3.Error:
            return  # still no room: the next commit will say so

    def replay(self, since: int, limit: int) -> tuple[int, list[Event]]:
        """Return up to `limit` events after `since`, and the compacted revision of that same moment.

        Opens its own connection: any thread may call this, and sees committed versions only. Raises Unopened.
        """
        reader = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, isolation_level=None)
        try:
            reader.execute("BEGIN")
            (compacted,) = reader.execute(_COMPACTED).fetchone()
            found = reader.execute(
                "SELECT log.revision, log.key, log.deleted, log.value, old.revision, old.value"
                " FROM log LEFT JOIN log AS old ON old.revision = log.previous"
                " WHERE log.revision > ? ORDER BY log.revision LIMIT ?",
                (since, limit),
            )
            return compacted, [self._event(row) for row in found]
        finally:
            reader.close()

    def close(self) -> None:
        """Close the file and give the lock up."""
        self._connection.close()
        os.close(self._lock)

    def _compacted(self) -> int:
        (value,) = self._connection.execute(_COMPACTED).fetchone()
        return int(value)

    def _event(self, row: tuple[int, str, int, bytes, int | None, bytes | None]) -> Event:
        revision, key, deleted, value, old_revision, old_value = row
        previous = None
        if old_revision is not None and old_value is not None:
            previous = Entry(key, old_revision, self._seal.open(key, old_value).value)
        return Event(revision, key, self._seal.open(key, value).value, bool(deleted), previous)

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._connection)


class _Transaction:
    """BEGIN; COMMIT on success, ROLLBACK on any failure (SQLite may already have rolled back by itself)."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def _acquire_lock(path: Path) -> int:
    """Hold an exclusive flock(2) beside the database; the kernel gives it up when the process dies."""
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise Unusable(
            f'store "{path}" is in use by process {holder}; stop it or choose another --root'
        ) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _connect(path: Path) -> sqlite3.Connection:
    """Open the file, recover its WAL, and make the tables in a new one."""
    try:
        if not path.exists():
            _create(path)
        _rewrite(path.with_name(f"{path.name}-wal"))
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise _unreadable(path, error) from error
    try:
        _check_identity(path, connection)
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {16 << 20}")
        connection.execute("PRAGMA busy_timeout = 5000")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise _unreadable(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _check_identity(path: Path, connection: sqlite3.Connection) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if not tables and application in (0, APPLICATION_ID):
        raise Unusable(
            f'store "{path}" is empty, as a crash of its file system leaves it; restore a copy, or move it away'
        )
    if application != APPLICATION_ID:
        raise Unusable(f'"{path}" is some other program\'s database; move it away')
    if version != SCHEMA_VERSION:
        raise Unusable(
            f'store "{path}" has format {version}, this minipod reads {SCHEMA_VERSION}; '
            "run the version that wrote it"
        )


def _create(path: Path) -> None:
    """Make a new store under another name and give it its own when it is whole: an empty file is never a new store.

    What would begin with it by mistake ends every Pod that runs, as the API knows of none.
    """
    fresh = path.with_name(f"{path.name}.new")
    for left in (fresh, path.with_name(f"{fresh.name}-journal")):  # a killed daemon's
        left.unlink(missing_ok=True)
    # made here so that the file is never, however briefly, readable by anybody but root
    os.close(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with contextlib.closing(sqlite3.connect(fresh, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        with _Transaction(connection):
            for statement in _SCHEMA:
                connection.execute(statement)
    fault.point("store.created")
    os.rename(fresh, path)
    _sync_directory(path.parent)


def _rewrite(log: Path) -> None:
    """Write a log that a predecessor left once more, and have it on disk before anybody reads from it. Raises OSError.

    The kernel drops what an fsync(2) could not write from its list of things to be written, and keeps showing it: what
    is read now would be gone after a power cut, and no later fsync would tell.
    """
    try:
        descriptor = os.open(log, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        position = 0
        while data := os.pread(descriptor, REWRITE_BYTES, position):
            position += os.pwrite(descriptor, data, position)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_full(error: sqlite3.Error) -> bool:
    """Whether the disk was full: the frame that commits comes last, so it was never written."""
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL


def _unreadable(path: Path, error: Exception) -> Unusable:
    """Say whether it is the file that is damaged, or the disk that cannot be used just now."""
    if isinstance(error, sqlite3.Error) and error.sqlite_errorcode & 0xFF in _DAMAGE:
        return Unusable(f'store "{path}" is damaged: {error}; restore a copy or move it away')
    reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    with contextlib.suppress(OSError):
        if not os.statvfs(path.parent).f_bavail:
            reason = f"{reason} (no space left on device)"
    return Unusable(f'store "{path}" cannot be used: {reason.lower()}; nothing of it was changed')


def _sync_directory(directory: Path) -> None:
    """Make the new files' names durable (fsync(2): the directory needs its own)."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
