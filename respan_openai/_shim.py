"""The shim: one configuration at work, from the SDK's request to the response that it gets.

``Shim.exchange`` is everything that happens in between. It is a generator like the flow inside it, so the blocking
and the awaited entrances each add one line.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ._carriers import Ambient
from ._clock import now
from ._context import ambient, attach, set_newest
from ._core.call import (
    EVENTS,
    PASS,
    WHOLE,
    Call,
    Outgoing,
    asks_for_stream,
    holds,
    parse_object,
    served_path,
    string_field,
)
from ._core.flow import flow
from ._core.plan import Plan
from ._core.steps import Close
from ._core.trace import Trace
from ._core.values import Value
from ._delivery import answer_of, blamed, failure_of, stream_of
from ._drive import adrive, drive
from ._families import body_in_memory, fault_of, pairs_in, rebuilt, seconds_for
from ._perform import Awaiting, Blocking
from ._warn import warn
from ._wire import CARRIERS, CONTAINERS
from .exceptions import ConfigError, NotServedError, RespanError
from .fallbacks import DIRECT, fallback_of
from .targets import Gateway


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Mapping

    from ._core.attempt import Outcome
    from ._core.call import Mode
    from ._core.health import Health
    from ._core.plan import Controls
    from ._core.trace import Tried
    from ._guard import Ended, Guard
    from .calls import CallHook


_log = logging.getLogger("respan_openai")

#: Headers in which a key may stand.
_CREDENTIALS = ("authorization", "api-key", "x-api-key")

#: Marks a request that has been through a shim, so that a second one on its way leaves it alone.
DONE = "respan_openai.done"

_SPEECH = "/audio/speech"

#: In the place of a random number, where a breaker that opens need not be unlike others.
_MIDDLE = 0.5


T = TypeVar("T")

if TYPE_CHECKING:
    Steps = Generator[Any, Any, Any]
    Again = Callable[[Steps], Any]


class Shim:
    """One configuration, at work: where calls go, and what is added to them."""

    def __init__(
        self, gateway: Gateway, plan: Plan, defaults: Mapping[str, Any] | None, on_call: CallHook | None
    ) -> None:
        self.gateway = gateway
        self.plan = plan
        self._noted: set[tuple[str | None, str | None]] = set()
        self._defaults = _checked(defaults) if defaults else None
        self._merged: tuple[Ambient | None, Ambient | None] = (None, self._defaults)
        self._on_call = on_call

    def takes(self, request: Any) -> str | None:
        """The path to serve for *request*; ``None`` if it is the business of the SDK and its provider alone.

        An empty path stands for a call that must not go anywhere: it carries the gateway's key to somebody else.
        """
        if DONE in request.extensions:
            return None
        path = served_path(request.method, request.url.raw_path)
        if path in self.gateway.paths:
            return path
        return "" if self._is_astray(request) else None

    def _is_astray(self, request: Any) -> bool:
        # The gateway's key, on its way to somebody else.
        values = [value for name in _CREDENTIALS for value in request.headers.get_list(name)]
        return any(map(self.gateway.holds, values)) and not self.gateway.owns(str(request.url))

    def let_pass(self, request: Any) -> Any:
        """*request* for the provider: as it is, but for parameters of ours in its headers."""
        found = [name for name in CARRIERS if name in request.headers]
        if not found or DONE in request.extensions or self.gateway.owns(str(request.url)):
            return request
        rest = [item for item in request.headers.raw if item[0].decode("latin-1").lower() not in found]
        return rebuilt(request, Outgoing(str(request.url), rest), DONE)

    def params(self) -> Ambient | None:
        """Context over ``defaults``; merged once for each pair of them."""
        inner = ambient()
        if self._defaults is None or inner is None:
            return inner or self._defaults
        known, merged = self._merged
        if known is not inner:
            merged = self._defaults.under(inner)
            self._merged = (inner, merged)
        return merged

    def exchange(
        self, request: Any, path: str, again: Again, *, follow_redirects: bool, mode: Mode | None = None
    ) -> Steps:
        """From the SDK's *request* for *path* to the response that it gets.

        Its body is read as *mode* says; ``None`` lets the request tell. *again* performs further steps of the call
        when its answer is being read and breaks off: at once, or with an awaitable of what they return.
        """
        trace = Trace(path or request.url.path, now())
        set_newest(trace)
        try:
            call = self._call(request, path, follow_redirects, mode)
            outcome = yield from flow(call, self.plan, trace)
            if outcome.verdict is not None and not outcome.over and self._is_enough(outcome):
                yield Close(cast("Any", outcome.answer))
                outcome.over = True
            response = self._response(request, call, trace, outcome, again)
        except GeneratorExit as exc:
            self._end(
                trace, now(), error=exc
            )  # nobody waits for the answer, so nobody is told where it came from
            raise
        except BaseException as exc:
            self._end(trace, now(), error=exc)
            stand_in = blamed(exc, request, trace, now())
            if stand_in is None:
                raise
            return stand_in
        if outcome.over and (outcome.watch is None or outcome.verdict is not None):
            self._end(trace, trace.tried[-1].ended, received=outcome.tried.received)
        return response

    def _is_enough(self, outcome: Outcome) -> bool:
        # One read of a packed body may unpack to more than is let through, and old versions of httpx then read
        # on without end and without a byte to show for it.
        return outcome.watch is not None or len(outcome.body) >= self.plan.limits.body

    def _response(self, request: Any, call: Call, trace: Trace, outcome: Outcome, again: Again) -> Any:
        if outcome.verdict is None and outcome.target is not self.plan.targets[0]:
            self._note_model(outcome, call)
        if outcome.verdict is None and outcome.over and outcome.watch is None:
            return answer_of(request, trace, outcome)
        ended = self._end_of(call, trace, outcome)
        if outcome.verdict is not None:
            return failure_of(request, call, trace, self.plan, outcome, ended=ended)

        def resume(guard: Guard, error: BaseException) -> Any:
            return again(self._resumed(request, call, trace, outcome, guard=guard, error=error))

        resumes = resume if self.plan.streams.continuation else None
        return stream_of(request, trace, self.plan, outcome, ended=ended, resume=resumes)

    def _end_of(self, call: Call, trace: Trace, outcome: Outcome) -> Ended:
        return _Ending(self, trace, outcome, outcome.target.health(call))

    def _resumed(
        self, request: Any, call: Call, trace: Trace, outcome: Outcome, *, guard: Guard, error: BaseException
    ) -> Steps:
        """The chunks that another target goes on with after *error*; ``None`` if nobody can or may."""
        from ._continuation import continued  # few streams break off
        from ._guard import can_resume

        rest = continued(call, self.plan, guard.watch)
        if rest is None or not can_resume(error):
            return None
        further = yield from flow(*rest, trace)
        if further.verdict is not None:
            if not further.over:
                yield Close(cast("Any", further.answer))
            return None
        self._failed_late(trace, outcome.tried, outcome.target.health(call))
        trace.continued = True
        guard.passes_on()
        ended = self._end_of(call, trace, further)
        return stream_of(request, trace, self.plan, further, ended=ended).stream

    def _call(self, request: Any, path: str, follow_redirects: bool, mode: Mode | None) -> Call:
        if not path:
            raise NotServedError(
                f"The gateway does not serve {request.method} {request.url.path}, and this client has no key but "
                "the gateway's, which must not reach a provider. Use a client with a provider's key for this call."
            )
        body, params = body_in_memory(request), self.params()
        first_content = None
        if mode is not WHOLE and body is not None and asks_for_stream(body):
            mode, first_content = EVENTS, _first_token_timeout(body, params)
        elif mode is None:
            mode = PASS if path == _SPEECH else WHOLE
        return Call(
            request.method,
            request.url,
            request.url.raw_path,
            path,
            pairs_in(request.headers),
            body,
            params,
            follow_redirects,
            mode,
            seconds_for(request),
            first_content,
        )

    def body_ended(self, ending: _Ending, guard: Guard, error: BaseException | None) -> None:
        """Note how the body that *guard* stood by has ended, with *error* or well."""
        trace, watch = ending.trace, guard.watch
        if watch is not None:
            trace.usage, trace.answer_model, trace.flags = watch.usage, watch.model, watch.flags
        if isinstance(error, RespanError):
            attach(error, trace)
        if isinstance(error, RespanError) or guard.is_fault_of(ending.target):
            self._failed_late(trace, ending.tried, ending.health)
        self._end(trace, now(), error=error, received=guard.received)
        if isinstance(error, RespanError):
            error.record = trace.record(now())

    def _failed_late(self, trace: Trace, tried: Tried, health: Health) -> None:
        """An answer went wrong after content: nothing is repeated, but the target's *health* knows."""
        health.faulted(now(), _MIDDLE, self.plan.breaker, probe=False)
        trace.committed(tried)

    def _note_model(self, outcome: Outcome, call: Call) -> None:
        """Warn, once, that a fallback answers with another model than the one that was asked for."""
        pair = string_field(call.body, "model"), outcome.tried.model
        if pair[0] == pair[1] or pair in self._noted:
            return
        self._noted.add(pair)
        warn(
            f"{outcome.target.name} answered with the model {_named(pair[1])}; {_named(pair[0])} was asked for. "
            "This is said once."
        )

    def _end(
        self, trace: Trace, at: float, *, error: BaseException | None = None, received: int | None = None
    ) -> None:
        if not trace.end(at, error=error, received=received) or self._on_call is None or _telling.get():
            return
        token = _telling.set(True)
        try:
            self._on_call(trace.record(at))
        except Exception:
            _log.exception("on_call raised; the call that it was told about is not affected.")
        finally:
            _telling.reset(token)


class _Ending:
    """What is called at the end of a body that its caller reads.

    Not a partial, nor with the call or the outcome in it: they are larger than all else that is kept meanwhile.
    """

    __slots__ = ("_shim", "health", "target", "trace", "tried")

    def __init__(self, shim: Shim, trace: Trace, outcome: Outcome, health: Health) -> None:
        self._shim = shim
        self.trace = trace
        self.target = outcome.target
        self.tried = outcome.tried
        self.health = health

    def __call__(self, guard: Guard, error: BaseException | None) -> None:
        self._shim.body_ended(self, guard, error)


#: Whether a hook is being told of a call: it is not told of those that it makes itself, and so on for ever.
_telling: ContextVar[bool] = ContextVar("respan_openai.telling", default=False)


def _checked(defaults: Mapping[str, Any]) -> Ambient:
    from ._params import check  # few clients have defaults

    return Ambient(check(defaults))


def _named(model: str | None) -> str:
    from ._check import shown  # as few are answered by another model

    return "None" if model is None else f"'{shown(model)}'"


def _first_token_timeout(body: bytes, params: Ambient | None) -> float | None:
    ambient = None if params is None else params.params.get("first_token_timeout")
    if not holds(body, b'"first_token_timeout"'):
        return ambient
    parsed = parse_object(body)
    found = [parsed, *(parsed[name] for name in CONTAINERS if isinstance(parsed.get(name), dict))]
    said = next((each["first_token_timeout"] for each in found if "first_token_timeout" in each), ambient)
    return said if isinstance(said, int | float) and said > 0 else ambient


def blocking(request: Any, send: Callable[[Any, Any], Any], steps: Steps) -> Any:
    """Perform *steps* of the call that *request* began; ``send(place, request)`` puts a request on the wire."""
    return drive(steps, Blocking(request, send, DONE))


def awaiting(request: Any, send: Callable[[Any, Any], Any], steps: Steps) -> Awaitable[Any]:
    """Same as :func:`blocking`, awaited."""
    return adrive(steps, Awaiting(request, send, DONE))


class Settings(Value):
    """What ``wrap()`` and the transports are told; see :func:`wrap`. ``None`` stands for the default."""

    def __init__(
        self,
        gateway: Any = None,
        fallbacks: Any = None,
        retry: Any = None,
        timeouts: Any = None,
        breaker: Any = None,
        hedge: Any = None,
        streams: Any = None,
        limits: Any = None,
        defaults: Any = None,
        on_call: Any = None,
    ) -> None:
        self.gateway = gateway
        self.fallbacks = fallbacks
        self.retry = retry
        self.timeouts = timeouts
        self.breaker = breaker
        self.hedge = hedge
        self.streams = streams
        self.limits = limits
        self.defaults = defaults
        self.on_call = on_call


def make_shim(settings: Settings, *, client: Any = None) -> Shim:
    """A shim from what a user said, for *client* where it is known.

    Raises:
        ConfigError: if a setting is not of its kind, or there is no key for the gateway.
        ParamsError: if *defaults* are not accepted.
    """
    from .policy import Breaker, Hedge, Limits, Retry, Streams, Timeouts  # a fifth of the whole import

    gateway = Gateway() if settings.gateway is None else settings.gateway
    if not isinstance(gateway, Gateway):
        raise ConfigError(
            f"gateway= is of type {type(gateway).__name__}; expected Gateway(...), OpenRouter(...) or "
            "LocalGateway(...)."
        )
    fallback = fallback_of(settings.fallbacks)
    if client is not None and DIRECT in fallback.all:
        _check_direct(client, gateway)
    plan = Plan(
        targets=(gateway, *fallback.targets),
        named=fallback.at(gateway),
        retry=_of(Retry, settings.retry, "retry") or Retry(),
        breaker=_of(Breaker, settings.breaker, "breaker") or Breaker(),
        timeouts=_of(Timeouts, settings.timeouts, "timeouts") or Timeouts(),
        streams=_of(Streams, settings.streams, "streams") or Streams(),
        limits=_of(Limits, settings.limits, "limits") or Limits(),
        hedge=_of(Hedge, settings.hedge, "hedge"),
        explain=fault_of,
        controls=_controls_of,
    )
    return Shim(gateway, plan, settings.defaults, settings.on_call)


def _controls_of(call: Call) -> Controls:
    from ._controls import controls_of  # asked for after a failure only

    return controls_of(call)


def _of(kind: type[T], value: object, name: str) -> T | None:
    if value is None or isinstance(value, kind):
        return value
    raise ConfigError(f"{name}= is of type {type(value).__name__}; expected {kind.__name__}(...).")


def _check_direct(client: Any, gateway: Gateway) -> None:
    key = client.api_key
    if gateway.owns(str(client.base_url)):
        raise ConfigError(
            "DIRECT is no fallback for this client: its base_url already is the gateway. Use Provider(...), or build the "
            "client for the provider."
        )
    if isinstance(key, str) and gateway.holds(key):
        raise ConfigError(
            "DIRECT is no fallback for this client: it has no key but the gateway's, which must not reach a provider. "
            "Build it with the provider's key, or use Provider(name, base_url, api_key)."
        )
