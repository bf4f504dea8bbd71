"""The ways in which JSON is written on the wire: layout, and what is escaped.

A body that one of them gives back byte for byte is kept as values, and written anew when it is played.
"""

from __future__ import annotations

import re
from json.encoder import JSONEncoder, encode_basestring, encode_basestring_ascii
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ._marks import Spelled
from ._plain import writer
from ._shapes import REPAIR, Misshapen


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ._shapes import Place


__all__ = ["COMPACT", "STYLES", "Style", "a_style", "fitting", "narrowed", "utf8", "written"]


class Style(NamedTuple):
    """How JSON text is written.

    Attributes:
        name: In a file; see :data:`STYLES`.
        comma: Between two items.
        colon: Between key and value.
        newline: Before the first item of the outermost object: empty, or a line end.
        indent: What each level is set in by.
        quote: Writes a string.
    """

    name: str
    comma: str
    colon: str
    newline: str
    indent: str
    quote: Callable[[str], str]


# What Go's encoding/json escapes besides: https://pkg.go.dev/encoding/json#HTMLEscape.
_HTML: Final = re.compile("[<>&\u2028\u2029]")


def _quote_for_html(text: str) -> str:
    return _HTML.sub(lambda found: f"\\u{ord(found[0]):04x}", encode_basestring(text))


#: Of each name the first word: comma, colon, line end, indent.
_LAYOUTS: Final = {
    "compact": (",", ":", "", ""),
    "spaced": (", ", ": ", "", ""),
    "indent-2": (",", ": ", "\n", "  "),
    "indent-4": (",", ": ", "\n", "    "),
    "indent-tab": (",", ": ", "\n", "\t"),
}
#: The second: nothing but what must be escaped, all that is not ASCII, or what HTML could take for markup.
_ESCAPES: Final = {"": encode_basestring, " ascii": encode_basestring_ascii, " html": _quote_for_html}

#: By name: ``compact`` is JavaScript's ``JSON.stringify``, ``spaced ascii`` Python's ``json.dumps``,
#: ``compact html`` Go's ``json.Marshal``; OpenAI's own answers are ``indent-2``, and its streams ``compact``.
STYLES: Final = {
    layout + escapes: Style(layout + escapes, *signs, quote)
    for layout, signs in _LAYOUTS.items()
    for escapes, quote in _ESCAPES.items()
}
COMPACT: Final = STYLES["compact"]

#: Where json itself can write what is written, many times faster.
_WRITERS: Final = {
    layout + escapes: writer(JSONEncoder(ensure_ascii=bool(escapes), separators=_LAYOUTS[layout][:2]))
    for layout in ("compact", "spaced")
    for escapes in ("", " ascii")
}


def written(value: object, style: Style) -> str:
    """*value* as JSON text."""
    write = None if Spelled.exists else _WRITERS.get(style.name)
    return write(value) if write else _WRITING[type(value)](value, style, style.newline)


def _string(value: str, style: Style, _: str) -> str:
    return style.quote(value)


def _object(value: dict[str, Any], style: Style, newline: str) -> str:
    if not value:
        return "{}"
    inner, quote, colon = newline + style.indent, style.quote, style.colon
    items = [
        # Most values are strings: not to call a function for each makes a file load a quarter faster.
        f"{quote(key)}{colon}{quote(item) if type(item) is str else _WRITING[type(item)](item, style, inner)}"
        for key, item in value.items()
    ]
    return f"{{{inner}{(style.comma + inner).join(items)}{newline}}}"


def _list(value: list[Any], style: Style, newline: str) -> str:
    if not value:
        return "[]"
    inner = newline + style.indent
    items = [_WRITING[type(item)](item, style, inner) for item in value]
    return f"[{inner}{(style.comma + inner).join(items)}{newline}]"


def _integer(value: int, _: Style, __: str) -> str:
    return repr(value)


def _number(value: float, _: Style, __: str) -> str:
    text = repr(value)
    return _UNUSUAL.get(text, text)


def _constant(value: bool | None, _: Style, __: str) -> str:
    return _CONSTANTS[value]


_CONSTANTS: Final = {True: "true", False: "false", None: "null"}
_UNUSUAL: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}

_WRITING: Final[dict[Any, Callable[[Any, Style, str], str]]] = {
    dict: _object,
    list: _list,
    str: _string,
    int: _integer,
    float: _number,
    Spelled: _number,
    bool: _constant,
    type(None): _constant,
}


def fitting(value: Any, text: str) -> Style | None:
    """The first style that writes *value* as *text*; ``None`` if there is none."""
    return next(iter(narrowed(list(STYLES.values()), [(value, text)])), None)


def narrowed(styles: Sequence[Style], samples: Iterable[tuple[Any, str]]) -> Sequence[Style]:
    """Those of *styles* that write *samples*, values and their texts, except samples that none can write."""
    left = styles
    fits = False
    for value, text in samples:
        fitted = [style for style in left if _may_fit(style, text) and written(value, style) == text]
        left, fits = fitted or left, fits or bool(fitted)
    return left if fits else ()


def _may_fit(style: Style, text: str) -> bool:
    """Whether writing in *style* is worth a try: told by the first signs, and by what is escaped."""
    begin = style.newline + style.indent
    if (
        not (text.startswith(begin, 1) or text[1:2] in "]}")
        or text[1 + len(begin) : 2 + len(begin)].isspace()
    ):
        return False
    return style.quote is encode_basestring or "\\u" in text


# -- in a file


def a_style(value: Any, place: Place) -> Style:
    """The check for the name of a style."""
    style = STYLES.get(value) if type(value) is str else None
    if style is None:
        raise Misshapen(place, f"must be one of {', '.join(STYLES)}. {REPAIR}")
    return style


def utf8(text: str, place: Place) -> bytes:
    """*text* as bytes.

    Raises:
        Misshapen: if it holds half a surrogate pair.
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Misshapen(place, f"holds half a surrogate pair, which UTF-8 cannot carry. {REPAIR}") from None
