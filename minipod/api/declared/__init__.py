"""The built-in kinds beyond those a Pod needs to run, declared.

Nothing but names: what is special about a kind is loaded when somebody first asks for it (`kind.hooks_in`), so that a
daemon's start does not pay for kinds that nobody uses.
"""

from minipod.api.declared.certificates import CLUSTER_TRUST_BUNDLE, SIGNING_REQUEST
from minipod.api.declared.flow_control import FLOW_CONTROL
from minipod.api.declared.metrics import METRICS
from minipod.api.declared.policies import POLICIES
from minipod.api.declared.services import SERVICES
from minipod.api.declared.settings import POD_PRESET
from minipod.api.declared.storage import STORAGE
from minipod.api.declared.workloads import WORKLOADS
from minipod.api.kind import Kind

DECLARED: tuple[Kind, ...] = (
    *WORKLOADS,
    *SERVICES,
    *POLICIES,
    *STORAGE,
    POD_PRESET,
    SIGNING_REQUEST,
    CLUSTER_TRUST_BUNDLE,
    *FLOW_CONTROL,
    *METRICS,
)
