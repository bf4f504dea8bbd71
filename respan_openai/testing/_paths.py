"""Paths into a request: read, written, and followed.

A request is a tree of plain values with four roots: its body (``$``, which is left out wherever that is
clear), the gateway's parameters (``respan``), its query (``?``) and the headers that are compared
(``header:``).

======================  ==========================================================
``metadata.run_id``     a field of the body; so is ``$.respan``, if it has one
``messages[0].role``    an item of a list, counted from 0; ``[-1]`` is the last one
``messages[*].role``    of every item; ``metadata.*`` is every field
``**.id``               at any depth, here of any root
``metadata["a.b"]``     a name that holds other characters
``respan.customer_identifier``, ``?after``, ``header:x-tenant``
======================  ==========================================================
"""

from __future__ import annotations

import json
import re
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, cast

from .._core.plain import is_list, is_object
from .errors import CassetteError


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


__all__ = [
    "BLANK",
    "BODY",
    "GONE",
    "HEADER",
    "QUERY",
    "RESPAN",
    "Path",
    "Step",
    "Wild",
    "edited",
    "parsed",
    "written",
]


BODY: Final = "$"
RESPAN: Final = "respan"
QUERY: Final = "?"
HEADER: Final = "header:"


class Wild(Enum):
    """A step that is taken to more than one place."""

    #: Every item of a list, every field of an object.
    EACH = "[*]"
    #: Here, and everywhere below.
    DEEP = ".**"


Step = str | int | Wild
Path = tuple[Step, ...]

#: What a change answers for a value that is to be as if it were not there.
GONE: Final = object()

#: In the place of what is ignored but must be there: an item of a list, a match within a text.
BLANK: Final = "{{ignored}}"

_STEP: Final = re.compile(
    r"""\.(?P<deep>\*\*) | (?:\.\* | \[(?P<each>\*)\])(?!\*) | \[(?P<item>-?\d{1,9})\]
    | \[(?P<quoted>"(?:[^"\\]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")\] | \.(?P<name>[^.\[\]*"~\s]+)""",
    re.VERBOSE,
)


# -- reading and writing


def parsed(text: str) -> Path:
    """The path that *text* is.

    Raises:
        CassetteError: if it is none; the message holds all of it.
    """
    root, rest = _rooted(text)
    steps = tuple(_steps(text, rest))
    path = _shortened((*root, *steps))
    if not path or path == (Wild.DEEP,):
        raise CassetteError(f"{text!r} is no place in a request: it would leave nothing to compare.")
    return path


def _rooted(text: str) -> tuple[Path, str]:
    """The root, and steps that each begin with a dot or a bracket."""
    for root in (QUERY, HEADER):
        if text.startswith(root):
            return (root,), _dotted(text.removeprefix(root))
    if text.startswith("**") or re.match(r"respan(?:[.\[]|$)", text):
        return (), _dotted(text)
    return (BODY,), _dotted(text.removeprefix(BODY)) if text != "" else "."


def _dotted(rest: str) -> str:
    return rest if not rest or rest[0] in ".[" else f".{rest}"


def _steps(text: str, rest: str) -> Iterator[Step]:
    at = 0
    while at < len(rest):
        found = _STEP.match(rest, at)
        if found is None:
            raise CassetteError(
                f"{text!r} cannot be read as a path from {rest[at:]!r} on. A path is names with dots between "
                'them, [0], [*], *, ** for any depth, and ["a name"] for a name with other characters.'
            )
        at = found.end()
        yield _step(found)


def _step(found: re.Match[str]) -> Step:
    match found.lastgroup:
        case "name":
            return found["name"]
        case "quoted":
            return cast("str", json.loads(found["quoted"], strict=False))
        case "item":
            return int(found["item"])
        case "deep":
            return Wild.DEEP
        case _:
            return Wild.EACH


def _shortened(path: Path) -> Path:
    """Without a ``**`` behind a ``**``, which would only multiply the work."""
    return tuple(
        step for at, step in enumerate(path) if not (step is Wild.DEEP and path[at - 1 : at] == (Wild.DEEP,))
    )


_PLAIN: Final = re.compile(r'[^.\[\]*"~\s]+')


def written(path: Path) -> str:
    """The text of *path*, which :func:`parsed` reads as the same."""
    root, rest = (path[0], path[1:]) if path[:1] != (Wild.DEEP,) else ("", path)
    text = "".join(map(_written_step, rest))
    if root == RESPAN:
        return f"{RESPAN}{text}"
    short = text.removeprefix(".") if root != BODY or _is_clear(rest) else f"{BODY}{text}"
    return short if root == BODY else f"{root}{short}"


def _is_clear(rest: Path) -> bool:
    return bool(rest) and not (
        rest[0] in {RESPAN, Wild.DEEP} or str(rest[0]).startswith((BODY, QUERY, HEADER))
    )


def _written_step(step: Step) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    if isinstance(step, Wild):
        return step.value
    if _PLAIN.fullmatch(step):
        return f".{step}"
    return f"[{json.dumps(step, ensure_ascii=not step.isprintable())}]".replace("~", "\\u007e")


# -- following


def edited(value: Any, path: Path, change: Callable[[Any], Any]) -> Any:
    """*value* with *change* made wherever *path* leads; *value* itself is left as it is."""
    if not path:
        return change(value)
    step, *rest = path
    inner = tuple(rest)
    if step is Wild.DEEP:
        value, inner = edited(value, inner, change), path
    if is_object(value):
        return _edited_fields(value, step, inner, change)
    return _edited_items(value, step, inner, change) if is_list(value) else value


def _edited_fields(fields: dict[str, Any], step: Step, inner: Path, change: Callable[[Any], Any]) -> Any:
    new = {
        name: edited(value, inner, change) if isinstance(step, Wild) or step == name else value
        for name, value in fields.items()
    }
    return {name: value for name, value in new.items() if value is not GONE}


def _edited_items(items: list[Any], step: Step, inner: Path, change: Callable[[Any], Any]) -> Any:
    if isinstance(step, int) and step < 0:
        step += len(items)
    new = (
        edited(value, inner, change) if isinstance(step, Wild) or step == at else value
        for at, value in enumerate(items)
    )
    return [BLANK if value is GONE else value for value in new]
