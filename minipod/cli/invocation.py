"""What every command knows: the root, the namespace, and how to reach the API of that root."""

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from minipod.cli.errors import CliError
from minipod.paths import Layout, layout

if TYPE_CHECKING:
    from minipod.cli.api import Api

DEFAULT_NAMESPACE = "default"


@dataclass
class Invocation:
    """The global flags of one command line; `api` and `layout` are made when first used."""

    root: str | None = None
    given_namespace: str | None = None  # None: the flag was not used
    verbosity: int = 0
    request_timeout: float = 0  # seconds; 0: none
    _api: "Api | None" = field(default=None, repr=False)

    @property
    def namespace(self) -> str:
        """The namespace to act in."""
        return self.given_namespace or DEFAULT_NAMESPACE

    @property
    def layout(self) -> Layout:
        """Where this root has its sockets and files. Raises CliError when the root cannot be used."""
        try:
            return layout(self.root)
        except ValueError as bad:
            raise CliError(str(bad)) from bad

    @property
    def api(self) -> "Api":
        """The API server of this root (connected to on the first request)."""
        if self._api is None:
            from minipod.cli.api import Api

            self._api = Api(self.layout, self.command_line("up"), self.verbosity)
            self._api.set_timeout(self.request_timeout or None)
        return self._api

    def close(self) -> None:
        """Close what was opened."""
        if self._api is not None:
            self._api.close()

    def command_line(self, verb: str) -> str:
        """Return what to type to run another verb on the same root."""
        root = self.root or os.environ.get("MINIPOD_ROOT")
        return f"sudo minipod --root {root} {verb}" if root else f"sudo minipod {verb}"

    def root_arguments(self) -> list[str]:
        """Return the arguments that hand this root on to another program of minipod's."""
        return ["--root", self.root] if self.root else []
