"""Links of a proxied answer: what leads to another path of the same server is made to lead through the proxy again.

`Location` headers, and in HTML the attributes that hold addresses. What k8s.io/apimachinery's proxy.Transport does.
"""

import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import urlsplit, urlunsplit

_ATTRIBUTES = {
    "a": ("href",),
    "applet": ("codebase",),
    "area": ("href",),
    "audio": ("src",),
    "base": ("href",),
    "blockquote": ("cite",),
    "body": ("background",),
    "button": ("formaction",),
    "del": ("cite",),
    "embed": ("src",),
    "form": ("action",),
    "frame": ("longdesc", "src"),
    "head": ("profile",),
    "html": ("manifest",),
    "iframe": ("longdesc", "src"),
    "img": ("longdesc", "src", "usemap"),
    "input": ("src", "usemap", "formaction"),
    "ins": ("cite",),
    "link": ("href",),
    "object": ("classid", "codebase", "data", "usemap"),
    "q": ("cite",),
    "script": ("src",),
    "source": ("src",),
    "video": ("poster", "src"),
}
_ATTRIBUTE = re.compile(
    r"""(?P<before>\s(?P<name>[^\s"'>/=]+)\s*=\s*)(?P<value>"[^"]*"|'[^']*'|[^\s"'>]+)"""
)


@dataclass(frozen=True, slots=True)
class Links:
    """Through which path of ours a server is reached, and what names the server goes by in its own answers."""

    prefix: str  # up to and with `/proxy`
    hosts: tuple[str, ...]

    def rewritten(self, link: str) -> str:
        """Return a link as the client has to follow it."""
        try:
            parts = urlsplit(link)
        except ValueError:
            return link
        elsewhere = parts.netloc and parts.netloc not in self.hosts
        if elsewhere or not parts.path.startswith("/"):
            return link
        inside = parts.path == self.prefix or parts.path.startswith(f"{self.prefix}/")
        path = parts.path if inside else f"{self.prefix}{parts.path}"
        return urlunsplit(("", "", path, parts.query, parts.fragment))


def rewrite_html(text: str, links: Links) -> str:
    """Return a page whose links go through the proxy; all else is as it was, byte for byte."""
    finder = _StartTags(lambda tag: _rewrite_tag(tag, links))
    finder.feed(text)
    finder.close()
    return finder.edited(text)


def _rewrite_tag(tag: tuple[str, str], links: Links) -> str:
    name, source = tag
    wanted = _ATTRIBUTES.get(name, ())

    def rewrite(found: re.Match[str]) -> str:
        if found["name"].lower() not in wanted:
            return found[0]
        value = found["value"]
        quote = value[0] if value[0] in "\"'" else ""
        link = html.unescape(value[1:-1] if quote else value)
        through = links.rewritten(link)
        if through == link:
            return found[0]
        return f'{found["before"]}"{html.escape(through)}"'

    return _ATTRIBUTE.sub(rewrite, source)


class _StartTags(HTMLParser):
    """Finds the start tags of a page (not what looks like one in a comment or a script), and their replacements."""

    def __init__(self, rewrite: Callable[[tuple[str, str]], str]) -> None:
        super().__init__(convert_charrefs=False)
        self._rewrite = rewrite
        self._edits: list[tuple[int, int, int, str]] = []  # line, column, length, what stands there

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """Note what becomes of a tag."""
        source = self.get_starttag_text() or ""
        changed = self._rewrite((tag, source))
        if changed != source:
            self._edits.append((*self.getpos(), len(source), changed))

    def edited(self, text: str) -> str:
        """Return the page with its tags replaced."""
        begins = [0]
        for found in re.finditer("\n", text):
            begins.append(found.end())
        pieces, done = [], 0
        for line, column, length, changed in self._edits:
            at = begins[line - 1] + column
            pieces += [text[done:at], changed]
            done = at + length
        return "".join([*pieces, text[done:]])
