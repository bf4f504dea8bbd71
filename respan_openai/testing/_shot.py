"""One request on its way past a cassette: answered from it, or sent and listened to."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urljoin, urlsplit, urlunsplit

from .._bodies import guarded
from .._clock import now
from .._core.origin import same_origin
from .._families import family_of
from .._tapes import OVERDUE, UNTIL
from ._contents import media_type
from .playing import Tee, decoded, delays_of, played, recut
from .recording import Answer, Chunk, Failure
from .redact import kept_headers


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .options import Options
    from .playing import End


__all__ = ["Listening", "Playing"]


class Playing:
    """A request that *answer* is played for, *latency* seconds later than recorded; see ``_tapes.Playing``."""

    is_live: Literal[False] = False

    def __init__(self, request: Any, answer: Answer, options: Options, latency: float) -> None:
        self._request = request
        if options.split != "recorded":
            answer = answer._replace(chunks=recut(answer.chunks, options.split))
        self._answer = answer
        head, self._delays = delays_of(self._answer, options)
        self.delay = latency + head

    def played(self) -> Any:
        """The recorded answer."""
        return played(self._request, self._answer, self._delays)


class Listening:
    """A request that is sent; see ``_tapes.Listening``.

    *landed* is told once what came back: an answer, or what ended it that no HTTP library has raised.
    """

    is_live: Literal[True] = True

    def __init__(
        self, request: Any, options: Options, landed: Callable[[Answer | BaseException], None]
    ) -> None:
        self._request = request
        self._options = options
        self._landed = landed
        self._began = now()
        self._tee: Tee | None = None

    def came(self, response: Any) -> Any:
        """An answer began."""
        if response.is_stream_consumed:  # by a client that was not asked for a stream
            body = response.content
            self._land(response, [Chunk(self._ms(), body)] if body else [], "eof", None)
            return response
        tee = Tee(self._began, _ends, partial(self._over, response))
        if not (media_type(response.headers.get("content-type")) or "").endswith("json"):
            self._tee = tee
        return guarded(response, tee)

    def left(self) -> None:
        """Nobody reads on: what came so far is the answer, unless it is JSON, of which a half is nothing."""
        if self._tee is not None:
            self._tee.left()

    def failed(self, error: BaseException) -> None:
        """No answer came."""
        failure = self._failure(error)
        self._landed(error if failure is None else Answer(None, end="failed", failure=failure))

    def _over(self, response: Any, chunks: list[Chunk], end: End, error: BaseException | None) -> None:
        failure = self._failure(error)
        if isinstance(error, Exception) and failure is None:
            self._landed(error)
            return
        unpacked, broken = decoded(self._request, response, chunks)
        self._land(response, unpacked, end, failure or self._failure(broken))

    def _land(self, response: Any, chunks: Sequence[Chunk], end: End, failure: Failure | None) -> None:
        redirects = ["location"] if 300 <= response.status_code < 400 else []
        kept = kept_headers(response.headers.items(), [*self._options.keep_headers, *redirects])
        kept = tuple((name, self._onward(value) if name == "location" else value) for name, value in kept)
        ended = end if failure is None else "failed"
        self._landed(Answer(response.status_code, kept, tuple(chunks), ended, failure))

    def _onward(self, location: str) -> str:
        """*location* without an origin that is the request's own: what is played is played anywhere."""
        url = str(self._request.url)
        target = urljoin(url, location)
        if not same_origin(url, target):
            return location
        return urlunsplit(("", "", *urlsplit(target)[2:]))

    def _failure(self, error: BaseException | None) -> Failure | None:
        """*error*, if it can be raised again when it is played; else whoever asked has gone away."""
        kind = self._kind(error)
        return None if kind is None else Failure(kind, self._ms(), "Timeout" in kind and self._is_late())

    def _is_late(self) -> bool:
        """Whether the time of whoever asked is over."""
        until = self._request.extensions.get(UNTIL)
        return until is not None and now() > until - _ROUNDING

    def _kind(self, error: BaseException | None) -> str | None:
        if self._is_overdue(error):
            return "ReadTimeout"
        family = family_of(self._request)
        if isinstance(error, family.RequestError):
            names = [base.__name__ for base in type(error).__mro__ if _is_named(family, base)]
            return names[0]
        return None

    def _is_overdue(self, error: BaseException | None) -> bool:
        """Whether it was ended because its time was over: by whatever means, a timeout to whoever asked."""
        extensions = self._request.extensions
        if OVERDUE in extensions or error is None or isinstance(error, Exception):
            return OVERDUE in extensions
        return self._is_late()  # what is awaited is cancelled then

    def _ms(self) -> int:
        return round((now() - self._began) * 1000)


def _is_named(family: Any, kind: type) -> bool:
    return getattr(family, kind.__name__, None) is kind


#: Seconds by which the clock of an event loop may differ from ours.
_ROUNDING: Final = 0.001

#: Behind these nobody reads on, because the stream is over (openai/_streaming.py).
_LAST_WORDS = (b"data: [DONE]", b'"type":"response.completed"', b'"type": "response.completed"')


def _ends(chunks: list[bytes]) -> bool:
    tail = b"".join(chunks[-8:])
    return any(word in tail for word in _LAST_WORDS)
