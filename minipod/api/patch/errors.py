"""What is wrong with a patch."""


class PatchError(ValueError):
    """A patch that is malformed, or (`fits` false) one that is well formed and does not fit the object.

    A malformed patch is a BadRequest; one that does not fit is Invalid (422), as upstream answers.
    """

    def __init__(self, message: str, fits: bool = True) -> None:
        super().__init__(message)
        self.fits = fits


class PatchTooLarge(PatchError):
    """More operations than one patch may have."""
