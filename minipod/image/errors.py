"""The one exception of the image package."""


class ImageError(Exception):
    """An image operation that cannot be done: one line with the culprit quoted, the reason, the way out."""
