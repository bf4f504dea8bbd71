"""How a cassette behaves: the values that a marker, the command line or a configuration may set, checked at once."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, cast

from ._plain import short
from .errors import CassetteError


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .recording import Question


__all__ = ["MODES", "Options"]


MODES: Final = ("none", "once", "new", "rewrite", "verify", "off")

#: Names that other tools have for two of them.
_ALIASES: Final = {"new_episodes": "new", "all": "rewrite"}

_AGE: Final = re.compile(r"(\d{1,5})\s*([dwy])")
_DAYS: Final = {"d": 1, "w": 7, "y": 365}


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """A cassette's.

    Attributes:
        mode: ``none`` (default): answer what was recorded, and fail for anything else. ``once``: record if there is
            no file, else as ``none``. ``new``: answer what was recorded, record the rest. ``rewrite``: record
            everything anew. ``verify``: send everything, compare the shape of answers, write nothing. ``off``: as if
            there were no cassette.
        match: Further things that must be equal, such as ``header:x-tenant``.
        ignore: Places in a request that may differ: ``metadata.run_id``, or
            ``messages[*].content ~ \\d{4}-\\d\\d-\\d\\d`` for what a pattern matches there.
        normalize: Makes of a request the one that is compared.
        ordered: Whether requests must come in the order in which they were recorded.
        repeats: What becomes of a request that was recorded n times and comes once more: ``error``, or ``last``, which
            answers as the last time.
        unused: What becomes of a test that passes, but did not use every recording: ``error``, ``warn`` or ``ignore``.
        timing: How long replayed answers take: 0 not at all, 1 or ``recorded`` as recorded, any other number that
            share of it, or ``{"ttft": seconds, "tps": chunks per second}``.
        split: How replayed streams are cut: ``recorded``, ``event``, ``byte``, or a number that seeds random cuts.
        redact: Further secrets: patterns, JSON paths, or functions of a value.
        keep_headers: Further response headers to keep.
        faults: Faults from the start; see ``Cassette.fault``.
        save: When a recording is written: ``passed`` (default), ``always`` or ``never``.
        retries: ``drop`` leaves out what was made up for by a later attempt of the same call: 429, 5xx and broken
            connections, and of two attempts at once the one that nobody listened to. ``keep`` keeps all. Who asks
            again himself makes another call.
        retry_delay: ``skip`` lets nobody wait between replayed attempts; ``recorded`` keeps the waits.
        max_age: Age from which a recording is too old, such as ``90d``, ``12w`` or ``1y``; ``None`` for no limit.
        extra: Further files that are read and never written, looked into in order.
    """

    mode: str = "none"
    match: Sequence[str] = ()
    ignore: Sequence[str] = ()
    normalize: Callable[[Question], Question] | None = None
    ordered: bool = False
    repeats: str = "error"
    unused: str = "error"
    timing: float | str | Mapping[str, float] = 0
    split: str | int = "recorded"
    redact: Sequence[Any] = ()
    keep_headers: Sequence[str] = ()
    faults: Sequence[Mapping[str, Any]] = ()
    save: str = "passed"
    retries: str = "drop"
    retry_delay: str = "skip"
    max_age: str | None = None
    extra: Sequence[Any] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "mode", _ALIASES.get(self.mode, self.mode))
        for name, words in _WORDS.items():
            if getattr(self, name) not in words:
                raise CassetteError(
                    f"{name}={short(getattr(self, name))}: expected one of {', '.join(words)}."
                )
        for name in _ADDING:
            _added(name, (), getattr(self, name))
        if self.max_age is not None and not _AGE.fullmatch(str(self.max_age)):
            raise CassetteError("max_age must be a number of days, weeks or years, such as 90d, 12w or 1y.")
        if not _is_timing(self.timing):
            raise CassetteError(
                'timing must be a number, "recorded", or {"ttft": seconds, "tps": chunks per second}.'
            )
        if not (self.split in {"recorded", "event", "byte"} or type(self.split) is int):
            raise CassetteError(
                "split must be recorded, event, byte, or a whole number that seeds random cuts."
            )

    @property
    def max_days(self) -> int | None:
        """``max_age`` in days."""
        found = None if self.max_age is None else _AGE.fullmatch(self.max_age)
        return None if found is None else int(found[1]) * _DAYS[found[2]]

    @classmethod
    def of(cls, *layers: Mapping[str, Any]) -> Options:
        """From mappings, of which later ones win; lists of ``ignore``, ``redact`` and ``faults`` add up.

        Raises:
            CassetteError: for a name that is none of the options', or a value that is not accepted.
        """
        merged: dict[str, Any] = {}
        for name, value in (item for layer in layers for item in layer.items()):
            if name not in _NAMES:
                raise CassetteError(
                    f"{short(name)} is no option of a cassette; there are: {', '.join(sorted(_NAMES))}."
                )
            merged[name] = _added(name, merged.get(name, ()), value) if name in _ADDING else value
        return cls(**merged)


_NAMES: Final = frozenset(field.name for field in fields(Options))
_ADDING: Final = frozenset({"ignore", "redact", "faults", "extra", "match", "keep_headers"})
_WORDS: Final = {
    "mode": MODES,
    "repeats": ("error", "last"),
    "unused": ("error", "warn", "ignore"),
    "save": ("passed", "always", "never"),
    "retries": ("drop", "keep"),
    "retry_delay": ("skip", "recorded"),
}


def _added(name: str, before: Sequence[Any], value: Any) -> list[Any]:
    if isinstance(value, str):
        raise CassetteError(f"{name} must be a list, even of one.")
    return [*before, *value]


def _is_timing(value: object) -> bool:
    if isinstance(value, dict):
        speeds = cast("dict[object, object]", value)
        return speeds.keys() <= {"ttft", "tps"} and all(
            isinstance(each, int | float) and each >= 0 for each in speeds.values()
        )
    return value == "recorded" or (isinstance(value, int | float) and value is not True and 0 <= value < 1e6)
