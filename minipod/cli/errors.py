"""What can go wrong, in kubectl's words and with kubectl's exit codes.

A command raises one of these; `main` prints it on stderr and exits. Nothing else prints an error.
"""

from typing import Any

Object = dict[str, Any]


class CliError(Exception):
    """A failure with a message for people: printed as `error: MESSAGE`, exits with `exit_code`."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code

    def text(self) -> str:
        """Return what is printed on stderr."""
        known = ("error: ", "Error ", "The ")
        return self.message if self.message.startswith(known) else f"error: {self.message}"


class UsageError(CliError):
    """The command line itself is wrong; `command` is the path whose help explains it."""

    def __init__(self, message: str, command: str) -> None:
        super().__init__(message)
        self.command = command

    def text(self) -> str:
        """Return the error and where to read on, as kubectl does."""
        return f"error: {self.message}\nSee '{self.command} --help' for usage."


class Unreachable(CliError):
    """No API server answered on the socket."""


class SilentExit(CliError):
    """End with an exit code, everything having been said."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("", exit_code)

    def text(self) -> str:
        """Return nothing to print."""
        return ""


class Failures(CliError):
    """Several failures of one command, each printed on its own line."""

    def __init__(self, failures: list[CliError]) -> None:
        super().__init__("; ".join(each.message for each in failures), failures[0].exit_code)
        self.failures = failures

    def text(self) -> str:
        """Return every failure's text once, in order."""
        return "\n".join(dict.fromkeys(each.text() for each in self.failures))


class ServerError(CliError):
    """A Status of the API server (metav1.Status with `status: Failure`)."""

    def __init__(self, status: Object) -> None:
        super().__init__(str(status.get("message") or "unknown"))
        self.status = status
        self.reason = str(status.get("reason") or "")
        self.code = int(status.get("code") or 0)

    def when(self, doing: str, source: str) -> "ServerError":
        """Return the same error, saying that it came from `doing` the object read from `source`."""
        message = f'error when {doing} "{source}": {self.message}'
        return ServerError({**self.status, "message": message})

    def text(self) -> str:
        """Return kubectl's wording: invalid objects list their causes, others name the reason."""
        if self.reason == "Invalid":
            return self._invalid()
        reason = f" ({self.reason})" if self.reason else ""
        return f"Error from server{reason}: {self.message}"

    def _invalid(self) -> str:
        details = self.status.get("details")
        if not details:
            return f"The request is invalid: {self.message}"
        kind, name = details.get("kind", ""), details.get("name", "")
        head = f'The {kind} "{name}" is invalid' if kind or name else "The request is invalid"
        causes = [_cause(each) for each in details.get("causes") or []]
        if not causes:
            return head
        if len(causes) == 1:
            return f"{head}: {causes[0]}"
        return f"{head}: " + "".join(f"\n* {each}" for each in dict.fromkeys(causes))


def _cause(cause: Object) -> str:
    field = cause.get("field")
    return f"{field}: {cause.get('message', '')}" if field else str(cause.get("message", ""))


def raise_all(failures: list[CliError]) -> None:
    """Raise what was collected: nothing, the one failure, or all of them."""
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise Failures(failures)
