"""How much trouble a call may make, and take: frozen values, checked where they are written.

Times are seconds, sizes are bytes, shares lie between 0 and 1. Every value is keyword-only, compares by value
and can be changed with ``dataclasses.replace``, which checks again.

Each class raises ``ConfigError`` when it is built with a value that could only be found wrong during an
outage: a bool or string where a number belongs, ``nan``, ``inf``, a negative number, an unknown word. The
message names the field and says what is accepted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from ._accepts import FLAG, above_zero, check, one_of, or_none, seconds, whole


__all__ = ["Breaker", "Hedge", "Limits", "Retry", "Streams", "Timeouts"]

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB
_GIB: Final = 1024 * _MIB


_SPAN: Final = above_zero(86_400, " of seconds")


@dataclass(frozen=True, kw_only=True, slots=True)
class Retry:
    """How often a call is tried, and how long it waits in between.

    A repeat is made only if it fits the call's deadline and the target's retry bucket, which successes fill,
    can pay for it; so in an outage far fewer are made than ``attempts`` allows.

    Attributes:
        attempts: Requests on the wire, all targets together, 1 to 5; 1 means no repeat. Default 3: what
            openai-python and the AWS SDKs make. No more than 5: gRPC's bound (gRFC A6), because attempts
            multiply from layer to layer.
        backoff: Seconds. Before the first repeat at the same target after a fault the wait is a uniform
            share of this; each further one doubles it, up to ``backoff_cap``. Another target is asked at
            once. Default 0.2: what the gateway itself waits between its own retries.
        backoff_throttled: The same after a 429 or 503 that names no time. Default 1.0: a server that is out
            of capacity needs longer than one that dropped a connection.
        backoff_cap: Seconds; no backoff is longer, whatever the two above say. Default 8.0, as in
            openai-python (``MAX_RETRY_DELAY``).
        retry_after_cap: Seconds. A ``Retry-After`` up to this is waited for, a longer one sends the call on
            to the next target, or back to the caller. Default 10.0: somebody is waiting for the answer.
        on_ambiguous: What follows an attempt that may have been carried out and billed though its answer is
            lost: a reset or a timeout after the request was sent. ``"fallback"`` (default) asks the next
            target once and marks the record, because generating twice does no harm but to the bill.
            ``"raise"`` returns the error: RFC 9110, 9.2.2, wants a POST repeated only if that is known to be
            safe.
        max_waiters: Calls that may wait before a repeat at one target at the same time; the others move on
            or fail. 0 means that none waits. Default 16: a storm of 429s must not tie up every thread.
    """

    attempts: int = 3
    backoff: float = 0.2
    backoff_throttled: float = 1.0
    backoff_cap: float = 8.0
    retry_after_cap: float = 10.0
    on_ambiguous: Literal["fallback", "raise"] = "fallback"
    max_waiters: int = 16

    def __post_init__(self) -> None:
        check(self, _RETRY)


_RETRY: Final = {
    "attempts": whole(1, 5),
    "backoff": seconds(0),
    "backoff_throttled": seconds(0),
    "backoff_cap": seconds(0),
    "retry_after_cap": seconds(0),
    "on_ambiguous": one_of("fallback", "raise"),
    "max_waiters": whole(0, 100_000),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Breaker:
    """When a target is left alone for a while, and for how long.

    It is opened by faults of the target itself, never by a 4xx that says the request is wrong. When the time
    is over, one call is let through as a probe: its success closes the breaker, its failure opens it again
    for twice as long. If every target of a call is open, the first one is asked once nevertheless.

    Attributes:
        failures: Faults in a row that open it, 1 to 1,000,000. Default 5: Envoy's ``consecutive_5xx``.
        rate: Share of faults among the newest outcomes that opens it too. Default 0.5: a target that fails
            every other call never fails five in a row.
        minimum: Outcomes that must have come within ``window`` before ``rate`` counts. Default 10: fewer say
            little about a share.
        window: Seconds, 1 to 300; outcomes older than this, and at most one second more, do not count for
            ``rate``. Default 30.0: Polly's ``SamplingDuration``.
        open_for: Seconds it stays open at first, spread by a fifth up and down so that many processes do not
            probe in the same moment. Default 5.0: Polly's ``BreakDuration``.
        open_cap: Seconds, before that spread; no opening is longer, the first one included. Default 30.0: a
            target that has recovered is noticed soon.
    """

    failures: int = 5
    rate: float = 0.5
    minimum: int = 10
    window: float = 30.0
    open_for: float = 5.0
    open_cap: float = 30.0

    def __post_init__(self) -> None:
        check(self, _BREAKER)


_BREAKER: Final = {
    "failures": whole(1, 1_000_000),
    "rate": above_zero(1),
    "minimum": whole(1, 1_000_000),
    "window": seconds(1, 300),
    "open_for": _SPAN,
    "open_cap": _SPAN,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeouts:
    """Limits on silence. How long a whole call may take is the SDK's own ``timeout``, not one of these.

    Attributes:
        first_content: Seconds from sending a request to the first content of its answer; keep-alive comments
            and events without content do not count. Default ``None``: 300 if another target could be asked
            instead, else no limit of its own. Reasoning models are silent for minutes.
        idle: Seconds between two content events of a stream; keep-alives do not count. ``None``: no limit.
            Default 120.0, as in opencode and qwen-code: a model that has begun to speak does not think for
            minutes before it goes on.
    """

    first_content: float | None = None
    idle: float | None = 120.0

    def __post_init__(self) -> None:
        check(self, _TIMEOUTS)


_TIMEOUTS: Final = {
    "first_content": or_none(_SPAN, "the default of 300 with a second target"),
    "idle": or_none(_SPAN, "no limit"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Streams:
    """What becomes of a stream that breaks off after its first content, when nothing can be repeated.

    Attributes:
        incomplete: A stream that ends cleanly but without its end (no finish reason, no ``[DONE]``, no
            terminal event): ``"raise"`` (default) an error at its last event, ``"warn"``, or ``"allow"`` it
            as openai-python does, where half an answer looks like a whole one.
        continuation: Ask another target to go on with the text where it broke off. Default ``False``: the
            joint is not always seamless, and the part that is lost is billed twice.
    """

    incomplete: Literal["raise", "warn", "allow"] = "raise"
    continuation: bool = False

    def __post_init__(self) -> None:
        check(self, _STREAMS)


_STREAMS: Final = {"incomplete": one_of("raise", "warn", "allow"), "continuation": FLAG}


@dataclass(frozen=True, kw_only=True, slots=True)
class Hedge:
    """Send a second request to another target when the first is slower than nearly all before it.

    Off unless asked for, because the loser may be billed as well. The answer that comes first is delivered.

    Attributes:
        quantile: Share of the newest calls that were faster than the wait before a hedge, between 0 and 1.
            Default 0.97: of a hundred calls about three are hedged, which the budget can pay.
        samples: Latencies that must be known first, 1 to 256. Default 50: below that the quantile is little
            more than the slowest call.
        floor: Seconds; no hedge is sent sooner. Default 1.0: where answers are quicker, nobody gains.
        budget: Share of calls that may be hedged, above 0 and at most 1. Default 0.05: the extra load that
            hedging behind the 95th percentile makes (Dean and Barroso, *The Tail at Scale*, 2013). It is
            what stops hedging when every call is slow.
    """

    quantile: float = 0.97
    samples: int = 50
    floor: float = 1.0
    budget: float = 0.05

    def __post_init__(self) -> None:
        check(self, _HEDGE)


_HEDGE: Final = {
    "quantile": above_zero(1, reached=False),
    "samples": whole(1, 256),
    "floor": seconds(0),
    "budget": above_zero(1),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How much of an answer is held in memory, at most. What is larger is an error that names the limit.

    Attributes:
        body: Bytes of an answer that is no stream, after decompression: 300 KB of gzip can become 300 MB.
            1 KiB to 4 GiB, default 64 MiB, enough for a base64 image.
        event: Bytes of one event of a stream, 1 KiB to 4 GiB. Default 16 MiB: a line without an end must not
            grow for ever.
        held: Bytes of a stream that are held back before its first content event, 1 KiB to 4 GiB.
            Default 64 KiB: what comes before content is short.
    """

    body: int = 64 * _MIB
    event: int = 16 * _MIB
    held: int = 64 * _KIB

    def __post_init__(self) -> None:
        check(self, _LIMITS)


_SIZE: Final = whole(_KIB, 4 * _GIB)
_LIMITS: Final = {"body": _SIZE, "event": _SIZE, "held": _SIZE}
