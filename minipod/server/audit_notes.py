"""What admission has to say to the audit log about a request (upstream's audit annotations), on its way there.

The request's own task carries them (contextvars): the verbs in between need not know of it.
"""

from contextvars import ContextVar

_notes: ContextVar[dict[str, str] | None] = ContextVar("audit_notes", default=None)


def collect(notes: dict[str, str]) -> None:
    """Put what is noted from now on into `notes`: a new request begins."""
    _notes.set(notes)


def note(key: str, value: str) -> None:
    """Note something; of a request that nobody audits, nothing is kept."""
    notes = _notes.get()
    if notes is not None:
        notes[key] = value
