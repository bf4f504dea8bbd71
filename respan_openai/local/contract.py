"""The gateway's own words: answers in plain values, and errors in the shapes of the hosted gateway.

* ``{"detail": ...}`` for what the gateway decides, with ``retry_after`` where a wait helps.
* ``{"error": {message, type, param, code}}`` for a request that cannot be read, so that the SDK's exception
  has ``param`` and ``code``.
* 422 adds ``errors``, the messages by field (contract.md, section 4).
"""

from __future__ import annotations

from dataclasses import dataclass

from .._core.call import dump_object


__all__ = [
    "JSON",
    "ContractError",
    "Reply",
    "detail",
    "invalid",
    "refusal",
    "unprocessable",
]


JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in plain values; a stream has one chunk for each event.

    *reason* says for the log why a request was refused.
    """

    status: int
    content_type: str
    chunks: tuple[bytes, ...]
    headers: tuple[tuple[str, str], ...] = ()
    reason: str | None = None


class ContractError(Exception):
    """Ends a request with an answer of the gateway's own; never leaves the gateway as an exception."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def detail(status: int, message: str, *headers: tuple[str, str]) -> ContractError:
    """The gateway's plain error: ``{"detail": message}``."""
    return ContractError(Reply(status, JSON, (dump_object({"detail": message}),), headers, message))


def invalid(message: str, param: str | None, code: str = "invalid_parameter") -> ContractError:
    """400 in OpenAI's shape, so that the SDK's exception has ``param`` and ``code``."""
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return ContractError(Reply(400, JSON, (dump_object({"error": error}),), reason=message))


def refusal(status: int, message: str, retry_after: int | None = None) -> ContractError:
    """Same as :func:`detail`, for a limit: *retry_after* (seconds) stands in the body, and as a header."""
    if retry_after is None:
        return detail(status, message)
    body = {"detail": message, "retry_after": retry_after}
    return ContractError(
        Reply(status, JSON, (dump_object(body),), (("Retry-After", str(retry_after)),), message)
    )


def unprocessable(message: str, field: str) -> ContractError:
    """422: the body is an object, but *field* is missing in it or of another type than it must be."""
    error = {"message": message, "type": "invalid_request_error", "param": field, "code": "invalid_parameter"}
    body = {"error": error, "errors": {field: [message]}}
    return ContractError(Reply(422, JSON, (dump_object(body),), reason=message))
