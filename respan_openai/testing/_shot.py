"""One request on its way past a cassette: answered from it, or sent and listened to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from .._bodies import guarded
from .._clock import now
from .playing import Tee, decoded, delays_of, played, recut
from .recording import Answer, Chunk, Failure
from .redact import kept_headers


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .options import Options


__all__ = ["Listening", "Playing"]


class Playing:
    """A request that *answer* is played for, *latency* seconds later than recorded; see ``_tapes.Playing``."""

    is_live: Literal[False] = False

    def __init__(self, request: Any, answer: Answer, options: Options, latency: float) -> None:
        self._request = request
        self._answer = answer._replace(chunks=recut(answer.chunks, options.split))
        head, self._delays = delays_of(self._answer, options)
        self.delay = latency + head

    def played(self) -> Any:
        """The recorded answer."""
        return played(self._request, self._answer, self._delays)


class Listening:
    """A request that is sent; see ``_tapes.Listening``. *landed* is told once what came back."""

    is_live: Literal[True] = True

    def __init__(self, request: Any, options: Options, landed: Callable[[Answer], None]) -> None:
        self._request = request
        self._options = options
        self._landed = landed
        self._began = now()

    def came(self, response: Any) -> Any:
        """An answer began."""
        kept = kept_headers(response.headers.items(), self._options.keep_headers)

        def done(chunks: Sequence[Chunk], end: Any, failure: Failure | None) -> None:
            self._landed(Answer(response.status_code, kept, tuple(chunks), end, failure))

        def unpacked(chunks: list[Chunk], end: Any, failure: Failure | None) -> None:
            done(decoded(self._request, response, chunks), end, failure)

        if response.is_stream_consumed:  # by a client that was not asked for a stream
            body = response.content
            done([Chunk(self._ms(), body)] if body else [], "eof", None)
            return response
        return guarded(response, Tee(self._began, _ends, unpacked))

    def failed(self, error: BaseException) -> None:
        """No answer came."""
        self._landed(Answer(None, end="failed", failure=Failure(type(error).__name__, self._ms())))

    def _ms(self) -> int:
        return round((now() - self._began) * 1000)


#: Behind these nobody reads on, because the stream is over (openai/_streaming.py).
_LAST_WORDS = (b"data: [DONE]", b'"type":"response.completed"', b'"type": "response.completed"')


def _ends(chunks: list[bytes]) -> bool:
    tail = b"".join(chunks[-8:])
    return any(word in tail for word in _LAST_WORDS)
