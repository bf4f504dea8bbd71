"""A recorded answer as a response again, and a live one with a tee in its body.

Both are of the family that the request came from, blocking and awaited at once, and neither reads ahead: what the
caller does not read is not played, and a live chunk reaches him when it comes.
"""

from __future__ import annotations

import random
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from .._clock import asleep, now, sleep
from .._core.steps import SPENT
from .._families import family_of
from .recording import Answer, Chunk, Failure


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from .options import Options

    End = Literal["eof", "closed"]
    Done = Callable[[list[Chunk], End, BaseException | None], None]


__all__ = ["Tee", "decoded", "delays_of", "played", "recut"]


# -- playing


def played(request: Any, answer: Answer, delays: Sequence[float]) -> Any:
    """The response for *answer*; ``delays[n]`` are the seconds before its chunk *n*.

    Raises:
        Exception: what was recorded in the place of an answer.
    """
    family = family_of(request)
    if answer.status is None:
        raise raised(request, answer.failure)
    return family.Response(
        answer.status,
        headers=list(answer.headers),
        stream=_played_class(family)(request, answer, delays),
        request=request,
        extensions={"http_version": b"HTTP/1.1"},
    )


def raised(request: Any, failure: Failure | None) -> BaseException:
    """The exception that *failure* stands for, of the request's own library."""
    family = family_of(request)
    name = "ReadError" if failure is None else failure.type
    kind = getattr(family, name, family.TransportError)
    error: BaseException = kind(f"{name}, as it was recorded.", request=request)
    setattr(error, SPENT, failure is not None and failure.spent)
    return error


def delays_of(answer: Answer, options: Options) -> tuple[float, list[float]]:
    """Seconds before the head, and before each chunk after it."""
    timing, chunks = options.timing, answer.chunks
    if isinstance(timing, dict):
        first, rate = timing.get("ttft", 0.0), timing.get("tps", 0.0)
        return 0.0, [first if at == 0 else (1 / rate if rate else 0.0) for at in range(len(chunks))]
    share = 1.0 if timing == "recorded" else float(timing)  # type: ignore[arg-type]
    if not share:
        return 0.0, [0.0] * len(chunks)
    times = [chunk.at for chunk in chunks]
    if not times:
        return share * (answer.failure.at if answer.failure else 0) / 1000, []
    gaps = [0, *(max(0, later - earlier) for earlier, later in pairwise(times))]
    return share * times[0] / 1000, [share * gap / 1000 for gap in gaps]


def recut(chunks: Sequence[Chunk], split: str | int) -> tuple[Chunk, ...]:
    """*chunks* cut anew: for tests of whatever reads them."""
    if split == "recorded":
        return tuple(chunks)
    pieces = _pieces(b"".join(chunk.data for chunk in chunks), split)
    at = chunks[0].at if chunks else 0
    return tuple(Chunk(at, piece) for piece in pieces)


def _pieces(body: bytes, split: str | int) -> list[bytes]:
    if split == "byte":
        return [body[at : at + 1] for at in range(len(body))]
    if split == "event":
        return [piece for piece in body.replace(b"\n\n", b"\n\n\0\n").split(b"\0\n") if piece]
    chance, at = random.Random(split), 0  # noqa: S311 -- the same cuts for the same seed
    pieces: list[bytes] = []
    while at < len(body):
        size = chance.randint(1, 64)
        pieces.append(body[at : at + size])
        at += size
    return pieces


# -- recording


class Tee:
    """Sees a live answer go by, as the guard of its body (``_bodies.guarded``), and tells *done* what it was.

    Args:
        began: When the request was sent, in monotonic seconds.
        ends: Whether a body so far is known to be whole, so that a reader who stops there has not left early.
        done: Told once: the chunks, whether they are all (``eof``) or not (``closed``), and what broke them off.
    """

    def __init__(self, began: float, ends: Callable[[list[bytes]], bool], done: Done) -> None:
        self._began = began
        self._ends = ends
        self._done: Done | None = done
        self._chunks: list[Chunk] = []

    def _ms(self) -> int:
        return round((now() - self._began) * 1000)

    def passed(self, chunk: bytes) -> bytes:
        """*chunk* came, and goes on."""
        if chunk:
            self._chunks.append(Chunk(self._ms(), chunk))
        return chunk

    def over(self) -> None:
        """The body came to its end."""
        self._tell("eof", None)

    def left(self) -> None:
        """The reader wants no more."""
        self._tell(self._end, None)

    def broken(self, error: BaseException) -> BaseException:
        """*error* was raised on the way, and goes on."""
        self._tell(self._end, error)
        return error

    @property
    def _end(self) -> End:
        return "eof" if self._ends([chunk.data for chunk in self._chunks]) else "closed"

    def _tell(self, end: End, error: BaseException | None) -> None:
        done, self._done = self._done, None
        if done is not None:
            done([*self._chunks], end, error)


def decoded(request: Any, response: Any, chunks: Sequence[Chunk]) -> tuple[list[Chunk], BaseException | None]:
    """*chunks* as they were on the wire, content-decoded, each with the time of the one that brought it.

    And what the HTTP library raises behind them, if the rest cannot be decoded.
    """
    if response.headers.get("content-encoding", "identity") == "identity":
        return list(chunks), None
    at = 0

    def wire() -> Iterator[bytes]:
        nonlocal at
        for chunk in chunks:
            at = chunk.at
            yield chunk.data

    family = family_of(request)
    head = [("content-encoding", response.headers["content-encoding"])]
    unpacked = family.Response(200, headers=head, content=wire(), request=request)
    found: list[Chunk] = []
    try:
        found.extend(Chunk(at, data) for data in unpacked.iter_bytes() if data)
    except family.DecodingError as exc:
        return found, exc
    return found, None


@lru_cache(maxsize=2)
def _played_class(family: Any) -> type[Any]:
    class Played(family.SyncByteStream, family.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, request: Any, answer: Answer, delays: Sequence[float]) -> None:
            self._request = request
            self._answer = answer
            self._delays = delays

        def __iter__(self) -> Iterator[bytes]:
            for chunk, seconds in zip(self._answer.chunks, self._delays, strict=True):
                if seconds:
                    sleep(seconds)
                yield chunk.data
            self._break()

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for chunk, seconds in zip(self._answer.chunks, self._delays, strict=True):
                if seconds:
                    await asleep(seconds)
                yield chunk.data
            self._break()

        def _break(self) -> None:
            if self._answer.failure is not None:
                raise raised(self._request, self._answer.failure)

    return Played
