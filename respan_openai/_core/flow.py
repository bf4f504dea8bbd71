"""One call from first try to answer, told in order.

1. The target builds its own request.
2. It is sent. What is raised instead of an answer goes to the caller unchanged.
3. A redirect inside the same origin that keeps the method is followed; any other is refused, because
   prompts and parameters would follow it, and a POST would become a GET (RFC 9110, 15.4).
4. The answer is delivered. Nothing is repeated afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from urllib.parse import urljoin, urlsplit

from .steps import NOW, Close, Place, Refusal, Send


if TYPE_CHECKING:
    from .call import Call, Outgoing
    from .steps import Answer, Flow
    from .trace import Trace


#: Redirects followed within one attempt.
MAX_REDIRECTS = 3

_KEEPS_METHOD = frozenset({307, 308})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Target(Place, Protocol):
    """Somewhere that serves calls, and knows how it wants them put."""

    def build(self, call: Call) -> Outgoing:
        """The request for *call* as this target wants it, with its own credential and nobody else's."""
        ...


def flow(call: Call, target: Target, trace: Trace) -> Flow:
    """Drive *call* to *target*; returns the answer, or a ``Refusal`` to deliver it."""
    outgoing = target.build(call)
    for _ in range(MAX_REDIRECTS + 1):
        try:
            answer: Answer = yield Send(target, outgoing)
        except GeneratorExit:
            raise
        except BaseException as exc:
            trace.failed(target.name, outgoing.model, exc, (yield NOW))
            raise
        trace.answered(target.name, outgoing.model, answer.status_code, (yield NOW))
        location = _location(answer) if call.follow_redirects else None
        if location is None:
            trace.deliver(target.name, outgoing.model, answer.headers)
            return answer
        yield Close(answer)
        moved = _moved(outgoing, answer.status_code, location)
        if isinstance(moved, Refusal):
            return moved
        outgoing = moved
    return Refusal(f"{target.name} redirected more than {MAX_REDIRECTS} times.")


def _location(answer: Answer) -> str | None:
    return answer.headers.get("location") if answer.status_code in _REDIRECTS else None


def _moved(outgoing: Outgoing, status: int, location: str) -> Outgoing | Refusal:
    url = urljoin(outgoing.url, location)
    if not same_origin(url, outgoing.url):
        return Refusal(
            f"The gateway answered {status} and pointed to another origin. Credentials, prompts and parameters "
            "would follow, so the redirect was refused. Set base_url to the gateway's final address."
        )
    if urlsplit(url).username is not None:  # httpx would put it in the place of our credential
        return Refusal("The gateway redirected to an address with a user name in it, which is not followed.")
    if status not in _KEEPS_METHOD:
        return Refusal(
            f"The gateway answered a POST with {status}, which would turn it into a GET. "
            "Set base_url to the gateway's final address."
        )
    return outgoing._replace(url=url)


def same_origin(one: str, other: str) -> bool:
    """Whether scheme, host and port are equal; a URL that cannot be read has no origin in common."""
    try:
        return origin_of(one) == origin_of(other)
    except ValueError:
        return False


def origin_of(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port, the default port filled in.

    Raises:
        ValueError: if the port is not a number between 0 and 65535.
    """
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    port = _DEFAULT_PORTS.get(scheme) if parts.port is None else parts.port
    return scheme, (parts.hostname or "").lower(), port
