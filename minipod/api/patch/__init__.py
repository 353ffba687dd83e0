"""The three kinds of patch, and the computation behind client-side apply: pure functions that change no argument.

Light to import: the command line computes its patches here.
"""

from minipod.api.patch.errors import PatchError, PatchTooLarge
from minipod.api.patch.json_patch import apply_json
from minipod.api.patch.merge import apply_merge
from minipod.api.patch.strategic import apply_strategic
from minipod.api.patch.three_way import three_way

__all__ = [
    "PatchError",
    "PatchTooLarge",
    "apply_json",
    "apply_merge",
    "apply_strategic",
    "three_way",
]
