"""Every error this package raises, and its one warning category.

    OpenAIError (openai)
    └── RespanError
        ├── ParamsError          also ValueError          a parameter that the gateway could not honour
        ├── ConfigError          also ValueError          targets, keys, clients or families that do not fit
        ├── NotServedError                                a gateway-only client asked for something the gateway has not
        ├── RedirectRefused      also APIConnectionError  an answer that points to another origin
        ├── StoreError                                    a gateway's store that cannot do what it is asked
        ├── CallFailed           also APIConnectionError  no target could be reached, or none gave an answer
        │   ├── InvalidAnswer                             what came back is no answer
        │   └── LimitExceeded                             what came back is larger than the limit set for it
        ├── CallTimedOut         also APITimeoutError     the call's time was over
        └── StreamInterrupted    also APIConnectionError  a stream broke off after content had been delivered
            └── StreamIncomplete                          it ended politely, but before its end

    UserWarning
    └── RespanWarning                                     accepted, but probably not what was meant

Every error is an ``openai.OpenAIError``: code that catches the SDK's errors keeps catching these, and the
SDK's retry loop lets them pass instead of repeating a call that cannot succeed
(openai/_base_client.py, ``except OpenAIError``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openai import APIConnectionError, APITimeoutError, OpenAIError


if TYPE_CHECKING:
    from .calls import CallRecord


__all__ = [
    "CallFailed",
    "CallTimedOut",
    "ConfigError",
    "InvalidAnswer",
    "LimitExceeded",
    "NotServedError",
    "ParamsError",
    "RedirectRefused",
    "RespanError",
    "RespanWarning",
    "StoreError",
    "StreamIncomplete",
    "StreamInterrupted",
]


class RespanError(OpenAIError):
    """Base of all errors of this package.

    Attributes:
        record: What happened to the call up to here; ``None`` if no call had begun.
    """

    record: CallRecord | None = None


class ParamsError(RespanError, ValueError):
    """A parameter has an unknown name, a wrong type or a value out of range.

    Raised before anything is sent.

    Attributes:
        param: The parameter's name, with the path inside it: ``retry_params.num_retries``.
    """

    def __init__(self, message: str, *, param: str) -> None:
        super().__init__(message)
        self.param = param

    def __reduce__(self) -> tuple[Any, ...]:
        return _params_error, (str(self), self.param)


def _params_error(message: str, param: str) -> ParamsError:
    return ParamsError(message, param=param)


class ConfigError(RespanError, ValueError):
    """A client, target, key or transport that cannot be used as asked; the message says what to do."""


class NotServedError(RespanError):
    """The client holds only the gateway's key, and the gateway does not serve this path.

    Nothing was sent: the key must not reach a provider, and the gateway would answer 404.
    """


class RedirectRefused(RespanError, APIConnectionError):  # noqa: N818 -- says what happened, as httpx2 does
    """The gateway answered with a redirect that must not be followed.

    Refused are other origins (scheme, host or port), since credentials and prompts would follow, and
    every redirect that turns the POST into a GET. The server saw the request; it was not repeated.
    """

    def __init__(self, message: str, *, request: Any) -> None:
        APIConnectionError.__init__(self, message=message, request=request)


class StoreError(RespanError):
    """A gateway's store could not do what it was asked: full, locked, damaged, of a newer version, or out of reach.

    A call is answered nevertheless, unless it has a budget that cannot be kept (``Settings.budget_failure``).
    """


class CallFailed(RespanError, APIConnectionError):  # noqa: N818 -- as above
    """No target gave an answer, and going on was not allowed or not worth it; ``__cause__`` is the last reason.

    ``record.attempts`` says who was asked and what came of it, and whether a provider may have worked and billed.
    """

    def __init__(self, message: str, *, request: Any) -> None:
        APIConnectionError.__init__(self, message=message, request=request)


class InvalidAnswer(CallFailed):
    """The status said success, but what came is no answer: empty, HTML, no JSON, no choices, no stream."""


class LimitExceeded(CallFailed):
    """The answer grew beyond a limit of :class:`Limits`, which the message names. It was not read on."""


class CallTimedOut(RespanError, APITimeoutError):  # noqa: N818 -- as above
    """The call's time was over before an answer came, all attempts and waits together.

    The time is the client's own ``timeout`` (seconds, the longer of ``read`` and ``connect``). A provider may have
    worked and billed: ``record.attempts[-1].meaning`` tells.
    """

    def __init__(self, message: str, *, request: Any) -> None:
        APITimeoutError.__init__(self, request=request)
        self.message = message
        self.args = (message,)


class StreamInterrupted(RespanError, APIConnectionError):  # noqa: N818 -- as above
    """A stream broke off after content had been delivered. Nothing was repeated: what was shown stays shown.

    Attributes:
        text: The answer's text so far (of the first choice).
        events: Data events that arrived, the last one included.
        received: Bytes that arrived.
    """

    def __init__(
        self, message: str, *, request: Any, text: str = "", events: int = 0, received: int = 0
    ) -> None:
        APIConnectionError.__init__(self, message=message, request=request)
        self.text = text
        self.events = events
        self.received = received


class StreamIncomplete(StreamInterrupted):
    """A stream ended without a break, but also without a ``finish_reason`` or the event that ends it.

    ``Streams(incomplete="warn")`` or ``"allow"`` lets such answers pass.
    """


class RespanWarning(UserWarning):
    """Something was accepted, but changed or left out; the message says what and why."""
