"""The built-in kinds beyond those a Pod needs to run, declared.

Nothing but names: what is special about a kind is loaded when somebody first asks for it (`kind.hooks_in`), so that a
daemon's start does not pay for kinds that nobody uses.
"""

from minipod.api.declared.settings import POD_PRESET
from minipod.api.declared.workloads import WORKLOADS
from minipod.api.kind import Kind

DECLARED: tuple[Kind, ...] = (*WORKLOADS, POD_PRESET)
