"""HTML from plain values: whatever is not ``Html`` already is escaped, so that nothing has to remember to."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from collections.abc import Iterable


__all__ = ["Html", "document", "element", "joined", "policy_headers"]


#: Elements without a closing tag (HTML standard, 13.1.2).
_VOID: Final = frozenset({"input", "meta"})


class Html(str):
    """Text that is HTML already, and is not escaped again."""

    __slots__ = ()


def element(name: str, /, *children: str | None, **attributes: object) -> Html:
    """An element.

    Args:
        name: Of the element.
        children: Text, which is escaped, or ``Html``; ``None`` is left out.
        attributes: ``class_`` is ``class``, ``data_live`` is ``data-live``. ``True`` is an attribute without
            a value; one that is ``None`` or ``False`` is left out.
    """
    start = Html(f"<{name}{''.join(_attribute(*item) for item in attributes.items())}>")
    if name in _VOID:
        return start
    return Html(f"{start}{joined(children)}</{name}>")


def joined(children: Iterable[str | None]) -> Html:
    """*children* one after the other, as in :func:`element`."""
    return Html(
        "".join(
            child if isinstance(child, Html) else escape(child) for child in children if child is not None
        )
    )


def _attribute(name: str, value: object) -> str:
    if value is None or value is False:
        return ""
    shown = name.removesuffix("_").replace("_", "-")
    return f" {shown}" if value is True else f' {shown}="{escape(str(value))}"'


@cache
def _asset(name: str) -> str:
    return resources.files("respan_openai.local").joinpath(name).read_text(encoding="utf-8")


def document(title: str, *body: str) -> bytes:
    """A whole page, which needs nothing but itself."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Html(_asset("page.css"))),
    )
    script = element("script", Html(_asset("page.js")))
    html = element("html", head, element("body", *body, script), lang="en")
    # Half a surrogate pair can stand in JSON, but not in UTF-8.
    return f"<!doctype html>\n{html}".encode(errors="replace")


def _hash_of(asset: str) -> str:
    return f"'sha256-{b64encode(sha256(_asset(asset).encode()).digest()).decode()}'"


@cache
def policy_headers() -> tuple[tuple[str, str], ...]:
    """Headers with which a browser uses this package's style and script, and talks to this server only."""
    policy = {
        "default-src": "'none'",
        "style-src": _hash_of("page.css"),
        "script-src": _hash_of("page.js"),
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    return (
        ("Content-Security-Policy", "; ".join(f"{name} {value}" for name, value in policy.items())),
        ("Cache-Control", "no-store"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Referrer-Policy", "same-origin"),
        ("X-Content-Type-Options", "nosniff"),
    )
