"""What a user wants to be kept out of a cassette: patterns, places, and functions that find it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, cast

from ._paths import Wild, parsed
from .errors import CassetteError


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ._paths import Path


__all__ = ["Hook", "Hooks"]


Hook = re.Pattern[str] | str | Callable[[str], Iterable[str]]

#: Characters; what is shorter would be replaced in the middle of words.
_SHORTEST: Final = 4


class Hooks:
    """What ``redact=[...]`` names; see :class:`~respan_openai.testing.redact.Redactor` for what may be in it.

    Raises:
        CassetteError: if one is none of these.
    """

    def __init__(self, hooks: Iterable[Hook] = ()) -> None:
        self._searches: list[Callable[[str], Iterable[str]]] = []
        self._paths: list[Path] = []
        for hook in hooks:
            self._read(hook)

    def _read(self, hook: object) -> None:
        if isinstance(hook, str) and not hook.startswith("~"):
            self._paths.append(parsed(hook))
        elif isinstance(hook, str):
            self._searches.append(_finder(_compiled(hook.removeprefix("~").strip())))
        elif isinstance(hook, re.Pattern):
            self._searches.append(_finder(cast("re.Pattern[str]", hook)))
        elif callable(hook):
            self._searches.append(cast("Callable[[str], Iterable[str]]", hook))
        else:
            raise CassetteError(
                f"redact holds a value of type {type(hook).__name__}; expected a compiled pattern, a path, "
                '"~ PATTERN", or a function of a text that returns the parts to keep out.'
            )

    @property
    def name_places(self) -> bool:
        """Whether one is a path."""
        return bool(self._paths)

    @property
    def search_texts(self) -> bool:
        """Whether one is a pattern or a function."""
        return bool(self._searches)

    def lead_to(self, path: Sequence[object]) -> bool:
        """Whether one names the place that *path* leads to, or something around it."""
        return any(_leads(steps, path) for steps in self._paths)

    def found_in(self, data: bytes) -> Iterator[bytes]:
        """What is to be kept out, of *data* if that is text.

        Raises:
            CassetteError: if a part has less than 4 characters, or is no text.
        """
        if self._searches:
            text = data.decode("utf-8", "surrogateescape")
            for search in self._searches:
                yield from (_checked(part) for part in search(text))


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as exc:
        raise CassetteError(f"redact: {pattern!r} is no regular expression: {exc}.") from None


def _finder(pattern: re.Pattern[str]) -> Callable[[str], Iterable[str]]:
    if type(pattern.pattern) is not str:
        raise CassetteError(f"redact: {pattern.pattern!r} is a pattern of bytes; expected one of text.")
    group = min(pattern.groups, 1)
    return lambda text: (found[group] for found in pattern.finditer(text) if found[group])


def _checked(part: object) -> bytes:
    if not isinstance(part, str):
        raise CassetteError(
            f"A function in redact returned a value of type {type(part).__name__} among parts of text."
        )
    if len(part) < _SHORTEST:
        raise CassetteError(
            f"redact found a value of {len(part)} characters. It would be replaced wherever it occurs, so it "
            f"must have at least {_SHORTEST}; let the pattern or function take in what is around it."
        )
    return part.encode("utf-8", "surrogateescape")


def _leads(steps: Sequence[object], path: Sequence[object]) -> bool:
    if not steps:
        return True
    step, inner = steps[0], steps[1:]
    if step is Wild.DEEP and _leads(inner, path):
        return True
    if not path:
        return False
    if step is Wild.DEEP:
        return _leads(steps, path[1:])
    return (step is Wild.EACH or step == path[0]) and _leads(inner, path[1:])
