"""Every error this package raises, and its one warning category.

    OpenAIError (openai)
    └── RespanError
        ├── ParamsError          also ValueError          a parameter that the gateway could not honour
        ├── ConfigError          also ValueError          targets, keys, clients or families that do not fit
        ├── NotServedError                                a gateway-only client asked for something the gateway has not
        └── RedirectRefused      also APIConnectionError  an answer that points to another origin

    UserWarning
    └── RespanWarning                                     accepted, but probably not what was meant

Every error is an ``openai.OpenAIError``: code that catches the SDK's errors keeps catching these, and the
SDK's retry loop lets them pass instead of repeating a call that cannot succeed
(openai/_base_client.py, ``except OpenAIError``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openai import APIConnectionError, OpenAIError


if TYPE_CHECKING:
    from .calls import CallRecord


__all__ = [
    "ConfigError",
    "NotServedError",
    "ParamsError",
    "RedirectRefused",
    "RespanError",
    "RespanWarning",
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


class RespanWarning(UserWarning):
    """Something was accepted, but changed or left out; the message says what and why."""
