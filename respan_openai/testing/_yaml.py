"""YAML of others, read so that it can do no harm: plain values, no tags, bounded in size.

PyYAML reads version 1.1 of the language, in which an unquoted ``2026-11-21`` is a date and ``1:30`` is a
number. What was written by it comes back so; what a writer of version 1.2 left unquoted does not, and is read
by that one's rules (YAML 1.2.2, 10.3.2, core schema).
"""

from __future__ import annotations

import re
from itertools import chain, islice
from typing import Any, Final

from .._core.plain import as_list, is_object
from .._extras import needed
from .errors import CassetteError


__all__ = ["MAX_BYTES", "read_yaml"]


#: Of one file.
MAX_BYTES: Final = 64 << 20

#: Values in one file, each as often as it is referred to, and levels of them.
_MOST_VALUES: Final = 2_000_000
_DEEPEST: Final = 200


def read_yaml(content: bytes, *, core: bool) -> Any:
    """The values in *content*, by the rules of YAML 1.2's core schema if *core*, else by those of 1.1.

    Raises:
        CassetteError: if it is no YAML or has tags of some program's own, is larger than ``MAX_BYTES`` or too
            deep; or if PyYAML is not installed.
    """
    if len(content) > MAX_BYTES:
        raise CassetteError(f"larger than {MAX_BYTES >> 20} MiB, so it is not read.")
    yaml = needed("yaml", "cassettes", "Reading YAML needs PyYAML", CassetteError)
    try:
        # Its loader in C overflows the stack where this one raises RecursionError.
        found = yaml.load(content, Loader=_core_loader(yaml) if core else yaml.SafeLoader)
    except yaml.YAMLError as exc:
        line = getattr(getattr(exc, "problem_mark", None), "line", None)
        where = "" if line is None else f" (line {line + 1})"
        raise CassetteError(
            f"no YAML that is plain data{where}. Record it anew, or take the tags out."
        ) from None
    except (RecursionError, ValueError):
        raise CassetteError("too deep, or with a value that is none.") from None
    _check_size(found)
    return found


def _check_size(value: object) -> None:
    """References may make a few bytes a million values, or a value a part of itself."""
    level, left = [value], _MOST_VALUES
    for _ in range(_DEEPEST):
        level = list(islice(chain.from_iterable(map(_parts, level)), left))
        left -= len(level)
        if not level or not left:
            break
    if level:
        raise CassetteError(f"more than {_MOST_VALUES} values, or more than {_DEEPEST} levels of them.")


def _parts(value: object) -> list[object]:
    return [*value.values()] if is_object(value) else as_list(value)


# -- the core schema

_PLAIN: Final = (
    ("null", r"(?:~|null|Null|NULL|)", "~nN"),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
)


def _core_loader(yaml: Any) -> Any:
    class Core(yaml.SafeLoader):  # type: ignore[misc]
        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 -- PyYAML copies it to add

    for name, pattern, firsts in _PLAIN:
        first = [*firsts, ""] if name == "null" else list(firsts)
        Core.add_implicit_resolver(f"tag:yaml.org,2002:{name}", re.compile(f"(?:{pattern})$"), first)
    Core.add_constructor("tag:yaml.org,2002:int", _int)
    Core.add_constructor("tag:yaml.org,2002:float", _float)
    return Core


def _int(_loader: Any, node: Any) -> int:
    return int(node.value)


def _float(_loader: Any, node: Any) -> float:
    return float(node.value.lower().replace(".i", "i").replace(".n", "n"))
