"""What the SDK gets at the end of a call: an answer of its own family, for its own request, or an error."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, Any, cast

import openai

from ._bodies import READ, guarded, whole
from ._context import TRACE, attach
from ._core.judge import Fault
from ._core.plain import as_object
from ._families import distrust_in, family_of, line, set_headers
from ._tapes import SENT
from ._warn import warn
from ._wire import CARRIERS
from .exceptions import (
    CallFailed,
    CallTimedOut,
    InvalidAnswer,
    LimitExceeded,
    RedirectRefused,
    RespanError,
)
from .fallbacks import base_of


if TYPE_CHECKING:
    from collections.abc import Callable

    from ._core.attempt import Outcome
    from ._core.call import Call
    from ._core.plan import Plan
    from ._core.trace import Trace
    from ._families import Line
    from ._guard import Ended, Guard


#: Under this key the error lies in the ``extensions`` of a response that stands for it.
ERROR = "respan_openai.error"

#: Under this key a gateway's name lies in the ``extensions`` of its error answer.
_SAYS = "respan_openai.says"

_MOST_SAID = 500

#: Since this version the SDK lets an ``OpenAIError`` of the transport pass (openai/_base_client.py);
#: before, it repeats the call and hides the error in an ``APIConnectionError``.
_LETS_ERRORS_PASS = tuple(int(part) for part in openai.VERSION.split(".")[:2]) >= (2, 32)

_SHOULD_RETRY = "x-should-retry"
_HEADERS_TOO_LARGE = 431


def answer_of(request: Any, trace: Trace, outcome: Outcome) -> Any:
    """The response for an attempt whose answer was read whole."""
    response: Any = outcome.answer
    trace.deliver(outcome.tried, response.headers)
    if READ in response.extensions:
        response = whole(response, response.extensions.pop(READ))
    if outcome.read is not None and outcome.read.found is not None:
        response.json = _Parsed(outcome.read.found, outcome.body)
    return dressed(response, request, trace)


class _Parsed:
    """The ``json()`` of an answer that was parsed already, which costs as much as all else that is done with it.

    Whoever asks first gets what there is, and may do with it what he likes; others get it parsed anew.
    """

    __slots__ = ("_body", "_left")

    def __init__(self, found: Any, body: bytes) -> None:
        self._left = [found]
        self._body = body

    def __call__(self, **options: Any) -> Any:
        """As ``Response.json``."""
        try:
            found = None if options else self._left.pop()
        except IndexError:
            found = None
        return json.loads(self._body, **options) if found is None else found

    def __reduce__(self) -> tuple[Any, ...]:
        # Whoever loads a pickled answer need not have this package.
        return partial, (json.loads, self._body)


@cache
def _guard_class() -> type[Guard]:
    # Only bodies that are not read whole need one; else as for the class of the watch (_core/attempt.py).
    from ._guard import Guard

    return Guard


def stream_of(
    request: Any,
    trace: Trace,
    plan: Plan,
    outcome: Outcome,
    *,
    ended: Ended,
    resume: Callable[[Guard, BaseException], Any] | None = None,
) -> Any:
    """The response for an attempt whose answer its caller reads, or has begun to.

    *ended* is told when that is over; *resume* is asked for chunks to go on with after a break.
    """
    response, held, watch = cast("Any", outcome.answer), outcome.held, outcome.watch
    response.extensions.pop(READ, None)  # it is held
    # The response will hold the outcome, by its guard. In a circle it would stay open when its reader forgets it.
    outcome.answer = outcome.held = None
    if watch is None:
        resume = None
    trace.deliver(outcome.tried, response.headers)
    guard = _guard_class()(
        watch,
        sum(map(len, held or ())),
        request=request,
        streams=plan.streams,
        limits=plan.limits,
        idle=None if watch is None else plan.timeouts.idle,
        ended=ended,
        whole_events=resume is not None,
        sent=response.extensions.pop(SENT, None),
    )
    response = guarded(response, guard, held, resume and partial(resume, guard))
    return dressed(response, request, trace)


def dressed(response: Any, request: Any, trace: Trace) -> Any:
    """*response* as the answer to the SDK's own request, which has no key of ours: users see it as ``exc.request``."""
    response.request = request
    response.next_request = None
    response.extensions[TRACE] = trace
    set_headers(response.headers, _lines(*trace.told))
    return response


@lru_cache(maxsize=256)
def _lines(target: str | None, attempts: int, model: str | None) -> tuple[Line, ...]:
    """The headers that tell who answered, in how many attempts, asked for which model."""
    if target is None:
        return ()
    told = line("x-respan-target", target), line("x-respan-attempts", str(attempts))
    return told if model is None else (*told, line("x-respan-model", model))


def failure_of(request: Any, call: Call, trace: Trace, plan: Plan, outcome: Outcome, *, ended: Ended) -> Any:
    """The response for a failure that has one; the SDK makes its error of it, and repeats nothing.

    Raises:
        RespanError: for a failure that has none.
    """
    verdict, answer = outcome.verdict, cast("Any", outcome.answer)
    if answer is None or verdict is None:
        raise _error_of(outcome, request, plan) from outcome.error
    answer.extensions.pop(SENT, None)
    trace.deliver(outcome.tried, answer.headers)
    status = verdict.status or answer.status_code
    if status == _HEADERS_TOO_LARGE and outcome.target.guards and _has_params_in_header(call):
        warn(
            "The gateway answered 431, too large request headers, and this call's parameters stood in one. Given as "
            "keywords of the call, or in extra_body=body(...), they are sent in the body."
        )
    if 200 <= answer.status_code < 300:
        if status < 400:
            raise InvalidAnswer(_invalid(outcome, verdict.reason), request=request)
        response = whole(answer, _error_body(outcome), status=status)
    elif outcome.over:
        response = whole(answer, outcome.body)
    else:
        from ._guard import RefusalGuard  # as above

        guard = RefusalGuard(
            None,
            sum(map(len, outcome.held or ())),
            request=request,
            streams=plan.streams,
            limits=plan.limits,
            idle=None,
            ended=ended,
        )
        response = guarded(answer, guard, outcome.held)
    response.headers[_SHOULD_RETRY] = "false"
    if outcome.target.guards:
        response.extensions[_SAYS] = outcome.target.name
    return dressed(response, request, trace)


def quote(error: openai.APIStatusError) -> None:
    """Let a traceback of *error* show a gateway's ``{"detail": ...}``, which newer SDKs leave out."""
    name = getattr(error.response, "extensions", {}).get(_SAYS)
    said, shown = as_object(error.body).get("detail"), str(error)
    if name and said and isinstance(said, str) and said not in shown and repr(said) not in shown:
        line = "".join(filter(str.isprintable, " ".join(said.split())))
        error.add_note(f"{name} says: {line if len(line) <= _MOST_SAID else line[: _MOST_SAID - 1] + '…'}")


def _has_params_in_header(call: Call) -> bool:
    ambient = call.params is not None and call.params.header() is not None
    return ambient or any(call.header(name.encode()) for name in CARRIERS)


def _error_body(outcome: Outcome) -> bytes:
    watch = outcome.watch
    if watch is None or watch.error is None:
        return outcome.body
    return json.dumps({"error": watch.error}).encode()


def _invalid(outcome: Outcome, reason: str) -> str:
    return (
        f"{outcome.target.name} answered {getattr(outcome.answer, 'status_code', None)}, but what came is no answer: "
        f"{reason}. Nothing of it was delivered; it may have been billed."
    )


def _error_of(outcome: Outcome, request: Any, plan: Plan) -> RespanError:
    name, fault, error = outcome.target.name, outcome.fault, outcome.error
    if outcome.refused is not None:
        return RedirectRefused(outcome.refused, request=request)
    if fault is Fault.LIMIT:
        return LimitExceeded(
            f"The answer of {name} is larger than {plan.limits.body} bytes, the limit of Limits(body=...), or an event "
            f"of it larger than {plan.limits.event} bytes, that of Limits(event=...).",
            request=request,
        )
    if fault in {Fault.READ_TIMEOUT, Fault.LATE}:
        return CallTimedOut(
            f"{name} did not answer in the time that the client's timeout allows for the whole call.",
            request=request,
        )
    kind = CallTimedOut if "Timeout" in type(error).__name__ else CallFailed
    if fault in {Fault.CONNECT, Fault.PROXY}:
        name = f"{name} at {_origin_of(outcome.target, request)}"
    return kind(f"{name} {_WHAT.get(fault, 'failed')} ({_said(fault, error)}).", request=request)


def _said(fault: Fault | None, error: Any) -> str:
    """What the library says of it, but not in every case: a message about a header shows the header."""
    if fault is Fault.CERTIFICATE:
        distrust = distrust_in(error)
        return _host_in(error) + str(getattr(distrust, "verify_message", distrust))
    kind = type(error).__name__
    return f"{kind}: {error}" if fault in {Fault.CONNECT, Fault.READ} and str(error) else kind


def _host_in(error: Any) -> str:
    with suppress(RuntimeError):  # a transport by itself does not say which request it was
        return f"{error.request.url.host}: "
    return ""


def _origin_of(target: Any, request: Any) -> str:
    """Where *target* is, without what may hold a secret; the client's own provider is where *request* goes."""
    url = type(request.url)(getattr(base_of(target), "base_url", request.url))
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


_WHAT: dict[Fault | None, str] = {
    Fault.CONNECT: "could not be reached",
    Fault.CERTIFICATE: "showed a certificate that is not accepted, so nothing was sent, there or elsewhere",
    Fault.POOL: "was not asked, because the client's connection pool is exhausted",
    Fault.UNSENDABLE: "was not asked, because the request cannot be sent",
    Fault.PROXY: "could not be reached through the proxy",
    Fault.WRITE: "did not take the whole request",
    Fault.READ: "broke the connection before the answer was whole",
    Fault.PROTOCOL: "answered with something that is not HTTP",
    Fault.DECODING: "sent a body that cannot be unpacked",
}


def blamed(error: BaseException, request: Any, trace: Trace, now: float) -> Any:
    """Point *error* at the SDK's own request; a response to stand for it, where the SDK would repeat the call."""
    attach(error, trace)
    family = family_of(request)
    for each in (error, error.__cause__):
        if isinstance(each, family.RequestError | family.HTTPStatusError):
            cast("Any", each).request = request
        if isinstance(each, family.HTTPStatusError):  # from a response hook that calls raise_for_status()
            cast("Any", each).response.request = request
    if not isinstance(error, RespanError):
        return None
    error.record = trace.record(now)
    return None if _LETS_ERRORS_PASS else _stand_in(error, request, trace)


def _stand_in(error: RespanError, request: Any, trace: Trace) -> Any:
    return family_of(request).Response(
        400,
        headers={_SHOULD_RETRY: "false"},
        json={"error": {"message": str(error), "type": type(error).__name__, "code": "respan_openai"}},
        request=request,
        extensions={ERROR: error, TRACE: trace},
    )
