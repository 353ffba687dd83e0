"""Why a step of a Pod's life could not be done, in the kubelet's words."""


class StepError(Exception):
    """A step failed. `reason` is a waiting container's ("CreateContainerConfigError") or an Event's ("FailedMount")."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
