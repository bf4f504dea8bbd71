"""Values that JSON text says badly or not at all, and the objects that stand for them in a file.

    {"$lines": ["a", "b"]}                      a longer text with line ends
    {"$number": "1e2"}                          a number that Python spells otherwise; NaN, infinities
    {"$float32": {"dims": 2, "base64": "…"}}    an embedding, as it was encoded
    {"$joined": ["…", "…"]}                     a string in which JSON would merge two halves of a pair
    {"$pairs": [[key, value], …]}               an object with such a string for a key
    {"$$lines": 1}                              an object whose only key really is ``$lines``

``parsed`` undoes what ``marked`` does, for every value that :func:`json.loads` may return.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from .._core.plain import is_list, is_object
from ._shapes import REPAIR, ROOT, Misshapen, deepest, quoted


if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from ._shapes import Place

    Pairs = list[tuple[str, Any]]


__all__ = ["Spelled", "marked", "number", "parsed", "too_deep"]


class Spelled(float):
    """A number that remembers how it was written; its ``repr``.

    Attributes:
        text: As it stands in JSON text.
    """

    __slots__ = ("text",)

    #: Whether there has been one: json's own encoder would write it as any other.
    exists = False

    text: str

    def __new__(cls, text: str) -> Self:
        Spelled.exists = True
        new = super().__new__(cls, text)
        new.text = text
        return new

    def __repr__(self) -> str:
        return self.text


def number(text: str) -> float:
    """The number in *text*, so that its ``repr`` is *text* again; to be given to :func:`json.loads`."""
    value = float(text)
    return value if repr(value) == text else Spelled(text)


# -- values to marks


#: Shorter texts stay on one line, with ``\n`` in them.
_SHORT: Final = 40

#: Between two halves of a surrogate pair, which are two characters here and would be one in JSON.
_HALVES: Final = re.compile("(?<=[\ud800-\udbff])(?=[\udc00-\udfff])")

_NAMES: Final = ("lines", "joined", "pairs", "number", "float32")
_ESCAPED: Final = re.compile(rf"\$+(?:{'|'.join(_NAMES)})")


def marked(value: Any) -> Any:
    """*value* as JSON text can say it.

    Raises:
        TypeError: if it holds anything but what JSON text is parsed to.
    """
    mark = _MARKING.get(type(value))
    if mark is None:
        raise TypeError(f"A cassette holds JSON values, and {type(value).__name__} is none.")
    return mark(value)


def _same(value: Any) -> Any:
    return value


def _string(value: str) -> Any:
    if _has_halves(value):
        return {"$joined": _HALVES.split(value)}
    if len(value) >= _SHORT and "\n" in value.strip("\n"):
        return {"$lines": value.split("\n")}
    return value


def _has_halves(value: str) -> bool:
    return not value.isascii() and _HALVES.search(value) is not None


def _float(value: float) -> Any:
    return value if math.isfinite(value) else {"$number": json.dumps(value)}


def _spelled(value: Spelled) -> Any:
    return {"$number": value.text}


def _list(value: list[Any]) -> Any:
    return [marked(item) for item in value]


def _object(value: dict[str, Any]) -> Any:
    fields = {key: _embedding(item) if key == "embedding" else marked(item) for key, item in value.items()}
    if any(map(_has_halves, fields)):
        return {"$pairs": [[_string(key), item] for key, item in fields.items()]}
    key, item = next(iter(fields.items()), ("", None))
    return {f"${key}": item} if len(fields) == 1 and _ESCAPED.fullmatch(key) else fields


def _embedding(value: Any) -> Any:
    dims = _dims(value) if type(value) is str else None
    return {"$float32": {"dims": dims, "base64": value}} if dims and dims >= _FEW_DIMS else marked(value)


_MARKING: Final[dict[Any, Callable[[Any], Any]]] = {
    str: _string,
    float: _float,
    Spelled: _spelled,
    dict: _object,
    list: _list,
    bool: _same,
    int: _same,
    type(None): _same,
}


#: Fewer may be a word that looks like base64.
_FEW_DIMS: Final = 16

_BASE64: Final = re.compile(r"(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def _dims(text: str) -> int | None:
    size = len(text) // 4 * 3 - text.count("=")
    return size // 4 if size % 4 == 0 and _BASE64.fullmatch(text) else None


# -- marks to values


def parsed(text: str, most: int) -> Any:
    """The value that was marked and printed as *text*, of *most* levels.

    Raises:
        ValueError: if *text* is not JSON.
        RecursionError: if it is nested deeper than the interpreter follows.
        Misshapen: for a mark that is none, a key that stands twice in one object, a bare ``NaN``, or a value
            that is nested deeper.
    """
    value = _usual(text, most)
    if value is None:
        value = _any(text)
        if place := deepest(value, most):
            raise Misshapen(place, too_deep(most))
    return value


def too_deep(most: int) -> str:
    """What is wrong with a file of more than *most* levels."""
    return f"is nested deeper than {most} levels. Name another file, or record the test again."


def _usual(text: str, most: int) -> Any:
    """The value of JSON without marks; ``None`` for any other, and if anything is wrong with it, which is not told."""
    if any(sign in text for first, sign in _MARKS if first in text):
        return None
    read = _reader(most)
    try:
        return read and read(text)
    except ValueError:
        return None


#: How a mark begins, also one that is escaped. Each behind a character of it, which is looked for many times faster,
#: and is mostly missing.
_MARKS: Final = (("$", '"$'), ("\\", "\\u0024"))


@cache
def _reader(most: int) -> Callable[[str], Any] | None:
    """A reader that refuses repeated keys, a bare ``NaN`` and more than *most* levels, much faster than :func:`_any`.

    ``None`` where jiter (PyPI), on which openai depends, is missing after all, would let more levels pass, lacks an
    option, or reads escapes wrong, as 0.4.0 does.
    """

    def read(text: str) -> Any:
        # In a list, because jiter lets an empty object be one level deeper than its limit, which is 200.
        (value,) = from_json(f"[{text}]".encode(), allow_inf_nan=False, catch_duplicate_keys=True)
        return value

    try:
        from jiter import from_json

        if read('"\\u2028"') != "\u2028":
            return None
        read("[" * (most + 1) + "]" * (most + 1))
    except (ImportError, TypeError):
        return None
    except ValueError:
        return read
    return None


def _any(text: str) -> Any:
    wrong: list[str] = []

    def read(pairs: Pairs) -> Any:
        value = dict(pairs)
        if len(value) == len(pairs) and (len(pairs) != 1 or pairs[0][0][:1] != "$"):
            return value
        return unusual(pairs)

    def unusual(pairs: Pairs) -> Any:
        try:
            return _unmarked(pairs)
        except Misshapen as exc:
            wrong.append(exc.what)
            return wrong

    value = json.loads(text, object_pairs_hook=read, parse_constant=_refuse_constant)
    if wrong:
        raise Misshapen(_place_of(wrong, value, ROOT) or ROOT, wrong[0])
    return value


def _refuse_constant(name: str) -> Any:
    raise Misshapen(ROOT, f'holds a bare {name}, which is no JSON. Write {{"$number": "{name}"}}.')


def _place_of(wrong: list[str], value: Any, place: Place) -> Place | None:
    if value is wrong:
        return place
    items = value.items() if is_object(value) else enumerate(value if is_list(value) else ())
    found = (_place_of(wrong, item, (place, key)) for key, item in items)
    return next((each for each in found if each is not None), None)


def _unmarked(pairs: Pairs) -> Any:
    """The value of an object that may be a mark, or has one of its keys twice."""
    if len(pairs) != 1:
        (twice, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise Misshapen(ROOT, f"has the key {quoted(twice)} twice. {REPAIR}")
    key, item = pairs[0]
    if not _ESCAPED.fullmatch(key):
        return {key: item}
    return {key[1:]: item} if key[1] == "$" else _READING[key](item)


def _strings(key: str, value: Any) -> list[str]:
    if is_list(value) and all(type(item) is str for item in value):
        return value
    raise Misshapen(ROOT, f'holds a "{key}" that is no list of strings. {REPAIR}')


def _read_lines(value: Any) -> str:
    return "\n".join(_strings("$lines", value))


def _read_joined(value: Any) -> str:
    return "".join(_strings("$joined", value))


def _read_pairs(value: Any) -> dict[str, Any]:
    try:
        return {str.__str__(key): item for key, item in value}
    except (TypeError, ValueError):
        raise Misshapen(ROOT, f'holds "$pairs" that are no list of keys and values. {REPAIR}') from None


_NUMBER: Final = re.compile(r"-?(?:(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?|Infinity)|NaN", re.ASCII)


def _read_number(value: Any) -> float:
    if type(value) is not str or not _NUMBER.fullmatch(value):
        raise Misshapen(ROOT, f'holds a "$number" that is no number in quotes. {REPAIR}')
    return number(value) if value[-1] not in "yN" else float(value)


def _read_float32(value: Any) -> str:
    fields = value if is_object(value) else {}
    text = fields.get("base64")
    if fields.keys() != {"dims", "base64"} or type(text) is not str or _dims(text) != fields["dims"]:
        raise Misshapen(ROOT, f'holds a "$float32" whose "base64" is not that of "dims" numbers. {REPAIR}')
    return text


_READING: Final[dict[str, Callable[[Any], Any]]] = {
    "$lines": _read_lines,
    "$joined": _read_joined,
    "$pairs": _read_pairs,
    "$number": _read_number,
    "$float32": _read_float32,
}
