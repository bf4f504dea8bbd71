"""What a flow may ask for.

A flow is a generator that yields these and is sent what came of them; a driver (``_drive``) does the work.
Steps are values, so a test of a flow compares them with ``==``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol


if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from typing import Any

    from .call import Outgoing

    Flow = Generator["Step", Any, "Answer | Refusal"]


class Answer(Protocol):
    """What a flow sees of a response: its head. httpx's and httpx2's ``Response`` are such."""

    status_code: int

    @property
    def headers(self) -> Mapping[str, str]:
        """Case-insensitive."""
        ...


class Place(Protocol):
    """Where a request goes; targets and the local gateway's providers are such."""

    name: str


class Now:
    """Answered with the monotonic time in seconds. ``NOW`` is the only one."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NOW"


NOW: Final = Now()


class Send(NamedTuple):
    """Answered with an ``Answer`` whose body is not read, or thrown what the HTTP library raised."""

    place: Place
    outgoing: Outgoing


class Close(NamedTuple):
    """Give the connection of an answer back that nobody will read."""

    answer: Answer


Step = Now | Send | Close


class Refusal(NamedTuple):
    """What a flow returns instead of an answer that must not be delivered: the reason, for the user."""

    reason: str
