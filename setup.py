"""Build hook: generates the packaged Kubernetes schema. Everything else is in pyproject.toml."""

import importlib.util
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent


class BuildWithSchema(build_py):
    """Write `minipod/api/schema/` into the build, or into this tree for an editable installation."""

    def run(self) -> None:
        """Build as usual, then add the schema, so that a stale copy in the tree never wins."""
        super().run()
        package = HERE if self.editable_mode else Path(self.build_lib)
        _schema_build().write_schema(package / "minipod" / "api" / "schema")

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Name the generated files too, so that they are recorded and uninstalled."""
        names = ("structure.json", "descriptions.json")
        made = [str(Path(self.build_lib, "minipod", "api", "schema", name)) for name in names]
        return list(dict.fromkeys([*super().get_outputs(include_bytecode), *made]))


def _schema_build():
    """Load the generator by its path: importing minipod here could find an installed one."""
    path = HERE / "minipod" / "api" / "schema_build.py"
    spec = importlib.util.spec_from_file_location("minipod_schema_build", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


setup(cmdclass={"build_py": BuildWithSchema})
