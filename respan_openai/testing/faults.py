"""Failures on demand: which requests of a test they meet, and what its code gets in the place of an answer.

A failure uses up no recording, so that what was recorded is still there for the attempt that follows.
"""

from __future__ import annotations

import math
import random
import threading
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Literal

from ._damage import disconnected, failed, malformed, refused, truncated
from ._demands import TIMEOUTS, checked
from .errors import CassetteError


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .recording import Answer, Question


__all__ = ["Fault", "Faults"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One failure: when it happens, and what happens. Made with :meth:`of`, which checks it.

    Attributes:
        at: From which request of the test on, of all its requests, counted from 1; ``None``: from the next
            on.
        path: Only for requests to this path, such as ``/embeddings``; ``None`` for any.
        times: How many requests it meets; ``None``: one, or with *rate* any number.
        rate: Chance for each of them, above 0 and at most 1; ``None`` for all.
        seed: Of that chance: the same requests are met in every run. 0 by default.
        status: An error answer of this status, 400 to 599, in OpenAI's shape.
        retry_after: Seconds that the error answer asks to wait.
        timeout: ``read``: no answer comes in time; ``connect``: no connection.
        disconnect_after: The recorded answer breaks off behind so many events; one that is no stream breaks
            off in its middle, or with 0 before its first byte.
        malformed: Of the recorded answer, or of its first event that holds an object, the second half is
            missing.
        truncate_bytes: The recorded answer ends after so many bytes, as if that were all.
        latency: Seconds before whatever comes; alone it delays the recorded answer and changes nothing.
    """

    at: int | None = None
    path: str | None = None
    times: int | None = None
    rate: float | None = None
    seed: int | None = None
    status: int | None = None
    retry_after: float | None = None
    timeout: Literal["read", "connect"] | None = None
    disconnect_after: int | None = None
    malformed: bool = False
    truncate_bytes: int | None = None
    latency: float = 0.0

    @classmethod
    def of(cls, **spec: Any) -> Fault:
        """The failure that *spec* describes by the names of the attributes; ``None`` is as if it were not
        there.

        Raises:
            CassetteError: for an unknown name, a value out of range, no effect or more than one, or a setting
                without the one that it belongs to.
        """
        fault = cls(**checked(spec))
        _check_together(fault)
        return fault

    def __str__(self) -> str:
        names = (field.name for field in fields(self) if _is_set(self, field.name))
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)

    @property
    def only_delays(self) -> bool:
        """Whether the recorded answer comes all the same, late; then it is used up as without a fault."""
        return not _effects_of(self)

    def applied(self, answer: Answer | None) -> Answer:
        """What is played in the place of *answer*, which was recorded for the request, or ``None``.

        Where there is nothing to cut, because nothing was recorded or no answer began, the connection breaks
        off before an answer begins.

        Raises:
            CassetteError: if the fault only delays, and there is nothing to delay.
        """
        for effect in _effects_of(self):
            return _EFFECTS[effect](self, answer)
        if answer is None:
            raise CassetteError(f"The fault {self} delays a recorded answer, and none was recorded.")
        return answer

    def meets(self, question: Question, number: int) -> bool:
        """Whether it may happen to *question*, the request *number* of the test, counted from 1."""
        in_place = number >= (self.at or 1) and self.path in {None, question.path}
        return in_place and (self.rate is None or self._chance(number) < self.rate)

    def _chance(self, number: int) -> float:
        # A draw of its own for each request: it does not depend on the order in which threads come here.
        chance = random.Random(f"{self.seed or 0}:{number}")  # noqa: S311 -- to be repeated, no secret
        return chance.random()


class Faults:
    """The failures of one test. May be used by several threads.

    Args:
        specs: What :meth:`Fault.of` takes, for each of them.

    Raises:
        CassetteError: if one is not accepted.
    """

    def __init__(self, specs: Iterable[Mapping[str, Any]] = ()) -> None:
        self._lock = threading.Lock()
        self._armed = [_Armed(Fault.of(**checked(spec))) for spec in specs]

    def add(self, spec: Mapping[str, Any]) -> Fault:
        """One more, behind the others.

        Raises:
            CassetteError: if it is not accepted.
        """
        armed = _Armed(Fault.of(**checked(spec)))
        with self._lock:
            self._armed.append(armed)
        return armed.fault

    def next(self, question: Question, number: int) -> Fault | None:
        """What happens to *question*, the request *number* of the test; ``None``: nothing.

        The first that meets it, in the order in which they were given, and it counts as having happened.
        """
        if not self._armed:
            return None
        with self._lock:
            met = (each for each in self._armed if each.is_left and each.fault.meets(question, number))
            armed = next(met, None)
            if armed is None:
                return None
            armed.fired += 1
            return armed.fault

    @property
    def unfired(self) -> list[str]:
        """What has not happened, or not as many times as it was to, in words."""
        with self._lock:
            return [armed.missed for armed in self._armed if armed.missed]


class _Armed:
    """A fault, and how many times it has happened."""

    __slots__ = ("fault", "fired")

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.fired = 0

    @property
    def is_left(self) -> bool:
        most = self.fault.times or (math.inf if self.fault.rate else 1)
        return self.fired < most

    @property
    def missed(self) -> str:
        least = 1 if self.fault.rate else self.fault.times or 1
        if self.fired >= least:
            return ""
        return f"{self.fault} ({self.fired} of {least} times)" if self.fired else str(self.fault)


# -- what happens


_EFFECTS: Final[dict[str, Callable[[Fault, Answer | None], Answer]]] = {
    "status": lambda fault, _: refused(fault.status or 500, fault.retry_after),
    "timeout": lambda fault, _: failed(TIMEOUTS[fault.timeout or "read"]),
    "disconnect_after": lambda fault, answer: disconnected(answer, fault.disconnect_after or 0),
    "malformed": lambda _, answer: malformed(answer),
    "truncate_bytes": lambda fault, answer: truncated(answer, fault.truncate_bytes or 0),
}

#: What says nothing without another.
_NEEDS: Final = {"retry_after": "status", "seed": "rate"}


def _check_together(fault: Fault) -> None:
    effects = _effects_of(fault)
    if len(effects) > 1:
        raise CassetteError(f"{' and '.join(effects)}: a fault does one thing. Ask for several faults.")
    if not effects and not fault.latency:
        raise CassetteError(f"The fault does nothing: give one of {', '.join(_EFFECTS)}, or latency.")
    for name, needed in _NEEDS.items():
        if _is_set(fault, name) and not _is_set(fault, needed):
            raise CassetteError(f"{name} means something only together with {needed}.")


def _effects_of(fault: Fault) -> list[str]:
    return [name for name in _EFFECTS if _is_set(fault, name)]


def _is_set(fault: Fault, name: str) -> bool:
    value = getattr(fault, name)
    return value is not None and value is not False and (name != "latency" or value > 0)
