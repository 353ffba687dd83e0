"""The metav1.Status that ends a remote command."""

from minipod.client import Object


def success() -> Object:
    """Return the Status of a program that ended with 0."""
    return {"metadata": {}, "status": "Success"}


def exit_status(code: int) -> Object:
    """Return the Status that carries a program's exit code."""
    if code == 0:
        return success()
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def failure(message: str) -> Object:
    """Return the Status of a stream that could not be served."""
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {message}",
        "reason": "InternalError",
        "details": {"causes": [{"message": message}]},
        "code": 500,
    }
