"""Where a call may go, and under which rules: what ``wrap()`` was told, as the flow needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from .steps import Place
from .values import Value


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from ..policy import Breaker, Hedge, Limits, Retry, Streams, Timeouts
    from .call import Call, Outgoing
    from .health import Health
    from .judge import Fault


class Target(Place, Protocol):
    """Somewhere that serves calls, and knows how it wants them put."""

    #: Whether it enforces budgets, limits and policies for its callers, as a gateway does. What such a target
    #: refuses is never asked of one that would not refuse it.
    guards: bool

    #: Whether it goes straight to the provider of the client, past the gateway.
    direct: bool

    @property
    def paths(self) -> Collection[str]:
        """Served paths."""
        ...

    def build(self, call: Call) -> Outgoing:
        """The request for *call* as this target wants it, with its own credential and nobody else's."""
        ...

    def health(self, call: Call) -> Health:
        """What is known about the origin and credential that *call* would use here."""
        ...

    def unfit(self, call: Call) -> str | None:
        """Why *call* cannot be put to this target at all; ``None`` if it can."""
        ...


class Controls(Value):
    """What a call itself says about its repetition; looked up only after a failure.

    Attributes:
        attempts: Most attempts, the first included; ``None`` leaves it to ``Retry``.
        backoff: Seconds, in the place of ``Retry.backoff``; ``None`` leaves it.
        stays: Whether it must not go to another target: asked for, or bound to state that lies at a provider.
        once: Whether it must not be repeated when a provider may have worked on it: it would be stored twice.
        several: Whether it asks for several answers, each of which is billed.
    """

    def __init__(
        self,
        attempts: int | None = None,
        backoff: float | None = None,
        stays: bool = False,
        once: bool = False,
        several: bool = False,
    ) -> None:
        self.attempts = attempts
        self.backoff = backoff
        self.stays = stays
        self.once = once
        self.several = several


class Plan(Value):
    """The rules that one client's calls follow.

    Attributes:
        targets: In the order of preference; never empty.
        named: Further targets for one kind of refusal: ``context``, ``content`` or ``model``.
        explain: What an exception of the HTTP library means; ``None`` for any other exception.
        controls: What a call itself says.
    """

    def __init__(
        self,
        targets: tuple[Target, ...],
        named: Mapping[str, tuple[Target, ...]],
        retry: Retry,
        breaker: Breaker,
        timeouts: Timeouts,
        streams: Streams,
        limits: Limits,
        hedge: Hedge | None,
        explain: Callable[[BaseException], Fault | None],
        controls: Callable[[Call], Controls],
    ) -> None:
        self.targets = targets
        self.named = named
        self.retry = retry
        self.breaker = breaker
        self.timeouts = timeouts
        self.streams = streams
        self.limits = limits
        self.hedge = hedge
        self.explain = explain
        self.controls = controls

    @property
    def all_targets(self) -> tuple[Target, ...]:
        """Those of every list."""
        return (*self.targets, *(target for entries in self.named.values() for target in entries))
