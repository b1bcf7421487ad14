"""HTML from Python, in which text from files can never become markup."""

import json
from collections.abc import Sequence
from html import escape
from typing import Any

VOID = frozenset({"br", "img", "input"})
"""Elements without an end tag."""


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: str | float | bool | None) -> Html:
    """An element; children that are not `Html` are escaped.

    An attribute that is None or False is left out, True stands without a value; `_` in its name means `-`, and a `_` at
    its end nothing (`class_`).
    """
    parts = [name]
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(key)
        elif value is not None and value is not False:
            parts.append(f'{key}="{escape(str(value))}"')
    start = f"<{' '.join(parts)}>"
    return Html(start if name in VOID else f"{start}{join(*children)}</{name}>")


def join(*children: str) -> Html:
    """One after the other."""
    return Html("".join(child if isinstance(child, Html) else escape(child) for child in children))


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, class_: str | None = None) -> Html:
    """A table; the first cell of each row is its header."""
    top = element("thead", element("tr", *(element("th", cell, scope="col") for cell in head))) if head else Html("")
    body = (
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows
    )
    return element("div", element("table", top, element("tbody", *body), class_=class_), class_="wide")


def embedded_json(value: Any) -> Html:
    """JSON to stand within a script element, which nothing in it can end."""
    return Html(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))
