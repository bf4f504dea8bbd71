"""The smallest value that a JSON schema allows, for an answer that is made up.

It has the required fields only, empty strings and lists, and ``null`` where that is allowed. ``pattern`` and
other rare keywords are not looked at.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

from .._core.plain import as_object, is_list
from .contract import invalid


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .contract import ContractError

    Object = dict[str, Any]
    Met = frozenset[str]


__all__ = ["MOST_CHARACTERS", "minimal"]


#: Of JSON. A schema of a few words can ask for any number of them.
MOST_CHARACTERS: Final = 1 << 18

#: The shortest value of each ``format`` that pydantic and OpenAI's structured outputs accept.
_FORMATS: Final = {
    "date": "1970-01-01",
    "date-time": "1970-01-01T00:00:00Z",
    "duration": "PT0S",
    "email": "echo@example.com",
    "hostname": "example.com",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "time": "00:00:00Z",
    "uri": "http://example.com/",
    "uuid": "00000000-0000-0000-0000-000000000000",
}


def minimal(schema: Object) -> str:
    """The instance of *schema*, as JSON.

    Raises:
        ContractError: 400 if *schema* cannot be read, or has no instance of at most ``MOST_CHARACTERS``.
    """
    try:
        return json.dumps(_Maker(schema).value(schema, frozenset()))
    except (AttributeError, LookupError, RecursionError, TypeError):
        raise _unusable("cannot be read.") from None


def _unusable(problem: str) -> ContractError:
    return invalid(f"The JSON schema {problem}", "json_schema", "invalid_json_schema")


class _Maker:
    """Makes one instance, counting its characters before they are there."""

    def __init__(self, root: Object) -> None:
        self._root = root
        self._left: float = MOST_CHARACTERS

    def _take(self, characters: float) -> None:
        self._left -= characters
        if self._left < 0:
            raise _unusable(
                f"asks for more than {MOST_CHARACTERS} characters, which nobody makes up here. "
                "Lower `minLength` or `minItems`, or nest less."
            )

    def value(self, schema: Object, met: Met) -> Any:
        """The instance of *schema*; *met* are the references on the way to it."""
        self._take(2)  # the least that stands for a value, with what parts it from the next one
        ref = schema.get("$ref")
        if isinstance(ref, str):
            # A schema that requires itself has no finite instance; an empty object is as good as any.
            return {} if ref in met else self.value(_resolved(ref, self._root), met | {ref})
        if "const" in schema or schema.get("enum"):
            return self._told(schema["const"] if "const" in schema else schema["enum"][0])
        options = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
        return self._first([*map(as_object, options)], met) if options else self._plain(schema, met)

    def _told(self, value: Any) -> Any:
        self._take(len(json.dumps(value)))
        return value

    def _first(self, options: list[Object], met: Met) -> Any:
        allows_null = any(_kind(option) == "null" for option in options)
        return None if allows_null else self.value(options[0], met)

    def _plain(self, schema: Object, met: Met) -> Any:
        make = _KINDS.get(_kind(schema))
        return None if make is None else make(self, schema, met)

    def object(self, schema: Object, met: Met) -> Object:
        """The required fields."""
        fields = as_object(schema.get("properties"))
        return {
            self._told(name): self.value(as_object(fields.get(name)), met)
            for name in schema.get("required") or ()
        }

    def array(self, schema: Object, met: Met) -> list[Any]:
        """As few items as may be, all of them the same one."""
        count = schema.get("minItems", 0)
        if not count:
            return []
        before = self._left
        item = self.value(as_object(schema.get("items")), met)
        self._take(max(count - 1, 0) * (before - self._left))
        return [item] * count

    def string(self, schema: Object, _met: Met) -> str:
        """As few characters as may be, or what has the wanted form."""
        known = _FORMATS.get(schema.get("format", ""))
        length = schema.get("minLength", 0) if known is None else len(known)
        self._take(max(length, 0))
        return "x" * length if known is None else known

    def number(self, schema: Object, _met: Met) -> float:
        """The one that is nearest to 0."""
        least = max(schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf) + 1)
        most = min(schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf) - 1)
        nearest: float = self._told(0 if least <= 0 <= most else least if least > 0 else most)
        return nearest

    def boolean(self, _schema: Object, _met: Met) -> bool:
        """Always the same."""
        return False


_KINDS: Mapping[Any, Callable[[_Maker, Object, Met], Any]] = {
    "array": _Maker.array,
    "boolean": _Maker.boolean,
    "integer": _Maker.number,
    "number": _Maker.number,
    "object": _Maker.object,
    "string": _Maker.string,
}


def _kind(schema: Object) -> Any:
    kinds = schema.get("type", "object" if "properties" in schema else None)
    several = kinds if is_list(kinds) else [kinds]
    return "null" if "null" in several else next(iter(several), None)


def _resolved(ref: str, root: Object) -> Object:
    found: Any = root
    for name in ref.removeprefix("#").split("/")[1:]:
        found = as_object(found).get(name.replace("~1", "/").replace("~0", "~"))
    return as_object(found)
