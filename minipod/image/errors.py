"""The one exception of the image package."""


class ImageError(Exception):
    """An image operation that cannot be done: one line with the culprit quoted, the reason, the way out.

    Names come from archives of strangers: what is not printable (newlines, terminal escapes) is shown escaped.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in message))
