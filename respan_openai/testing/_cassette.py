"""A cassette: answers what was recorded, records what is new, and knows in the end what did not fit.

It stands in front of the network for every client of the process that this package serves (``_tapes``), below retry
and fallback: a recorded 429 goes through the real retry, and what was recorded at one target is played at any other.
What it compares is the call in neutral form, with secrets replaced as they are in the file.
"""

from __future__ import annotations

import functools
import inspect
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .._clock import now
from .._core.health import forget
from .._tapes import push, remove
from .errors import CassetteError, CassetteFileError
from .faults import Faults
from .match import Library, Taken
from .mismatch import CassetteMismatch, describe, sent_from
from .options import Options
from .playing import Tee, decoded, delays_of, played, recut, teed
from .questions import question_of
from .recording import Answer, Chunk, Failure, Question, Recorded
from .redact import Redactor, kept_headers
from .rules import Rules
from .saving import Keeper
from .secrets import KEY_HEADERS, Secrets
from .views import CallView, request_dict, view


if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence
    from typing import Self, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])


__all__ = ["Cassette", "Counts", "cassette"]


class Counts(NamedTuple):
    """What became of the calls of a test.

    Attributes:
        replayed: Answered from the file.
        live: Sent.
        unused: Recordings that nobody asked for.
        saved: Recordings written at the end.
    """

    replayed: int = 0
    live: int = 0
    unused: int = 0
    saved: int = 0


_KEY_HEADERS = frozenset(name.encode() for name in KEY_HEADERS)


class _Seen:
    """One request of the test, and what came back."""

    def __init__(self, number: int, question: Question) -> None:
        self.number = number
        self.question = question
        self.answer: Answer | None = None
        self.is_live = False
        #: The question as it is written.
        self.masked = question


class Cassette:
    """The calls of one test, and the file that they come from or go to.

    Not active before :meth:`start`. Every method may be called from several threads.

    Args:
        path: Of the file.
        options: How it behaves.
        test: Node id of the test, for messages.
        run: Id of the test run, the same in all of its processes.

    Attributes:
        raising: Makes what is raised for a request that has no recording, of its text; a ``BaseException``, so that
            no ``except Exception`` hides it.
        mismatches: Text of each such request, also of those whose exception somebody swallowed.

    Raises:
        CassetteError: if the file cannot be read as a cassette, or an option is wrong. What is wrong with an
            answer in it is raised by the call that asks for it, as *raising* makes it, or told at the end.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        options: Options | None = None,
        *,
        test: str | None = None,
        run: str | None = None,
    ) -> None:
        self.options = Options() if options is None else options
        self.raising: Callable[[str], BaseException] = CassetteMismatch
        self.mismatches: list[str] = []
        self.path = Path(path)
        self._test = test
        self._keeper = Keeper(self.path, self.options, test=test, run=run)
        self._rules = Rules(self.options.ignore, self.options.match, self.options.normalize)
        self._faults = Faults(self.options.faults)
        self._redactor = Redactor(Secrets(), self.options.redact)
        self._lock = threading.RLock()
        self._keys = set[tuple[bytes, bytes]]()
        self._seen: list[_Seen] = []
        self._warnings: list[str] = []
        self._saved = 0
        self._library = self._new_library()

    def _new_library(self) -> Library:
        own, *extra = self._keeper.recorded()
        return Library(
            own, self._rules, ordered=self.options.ordered, repeats=self.options.repeats, extra=extra
        )

    def __repr__(self) -> str:
        return f"<Cassette {self.path.name}, {self.mode}, {len(self._seen)} calls>"

    # -- what users see

    @property
    def mode(self) -> str:
        """``none``, ``once``, ``new``, ``rewrite``, ``verify`` or ``off``."""
        return self.options.mode

    @property
    def is_recording(self) -> bool:
        """Whether a request without a recording is sent and recorded."""
        return self.mode in {"new", "rewrite"} or (self.mode == "once" and not self._keeper.exists)

    @property
    def is_replaying(self) -> bool:
        """Whether recordings are played."""
        return self.mode in {"none", "new"} or (self.mode == "once" and self._keeper.exists)

    @property
    def skips_waits(self) -> bool:
        """Whether nobody waits between attempts; see ``Options.retry_delay``."""
        return self.is_replaying and self.options.retry_delay == "skip"

    @property
    def calls(self) -> list[CallView]:
        """The calls of the test so far, in the order in which they were sent."""
        with self._lock:
            return [view(seen.question, seen.answer) for seen in self._seen]

    @property
    def requests(self) -> list[dict[str, Any]]:
        """What was asked, as plain dicts: for snapshots."""
        with self._lock:
            return [request_dict(seen.question) for seen in self._seen]

    @property
    def unused(self) -> list[Recorded]:
        """Recordings that nobody has asked for."""
        return list(self._library.unused) if self.is_replaying else []

    @property
    def counts(self) -> Counts:
        """What became of the calls so far."""
        with self._lock:
            live = sum(seen.is_live for seen in self._seen)
            played = sum(not seen.is_live and seen.answer is not None for seen in self._seen)
            return Counts(played, live, len(self.unused), self._saved)

    @property
    def saved_seconds(self) -> float:
        """Seconds that the replayed answers took when they were recorded."""
        with self._lock:
            played = [seen.answer for seen in self._seen if not seen.is_live and seen.answer is not None]
        return sum(max((chunk.at for chunk in answer.chunks), default=0) for answer in played) / 1000

    #: What the replayed calls would have cost, in USD; no price is known here.
    saved_usd: float | None = None

    def fault(self, **spec: Any) -> None:
        """Let a request fail without using up a recording: see ``Options.faults``.

        Raises:
            CassetteError: if *spec* has an unknown name or a value that is not accepted.
        """
        self._faults.add(spec)

    def ignore(self, *places: str) -> None:
        """Let *places* of a request differ from here on: see ``Options.ignore``.

        Raises:
            CassetteError: if one cannot be read.
        """
        with self._lock:
            self._rules = self._rules.ignoring(places)
            self._library = self._library.under(self._rules)

    def rewind(self) -> None:
        """Let every recording be played once more."""
        with self._lock:
            self._library.rewind()

    # -- its life

    def start(self) -> Self:
        """Stand in front of the network, above cassettes that already do."""
        self._keeper.check(recording=self.is_recording)
        if self.mode != "off":
            forget()  # a breaker that another test has opened would keep this one's calls away
            push(self)
        return self

    def stop(self, *, passed: bool = True) -> list[str]:
        """Step aside; save what is to be saved. Returns what is wrong, a text for each thing.

        *passed* tells whether the test did. A test that failed has other troubles than recordings it did not use, and
        its recordings are not saved (``Options.save``).
        """
        remove(self)
        forget()
        problems: list[str] = []
        if self.is_recording or self.mode == "rewrite":
            problems += self._save(passed=passed)
        if passed:
            problems += [*self._leftovers(), *self._unreadable()]
        return problems + self._warnings

    def _leftovers(self) -> list[str]:
        unused = [] if self.options.unused == "ignore" or self.mode == "verify" else self.unused
        texts = [f"a fault never happened: {fault}" for fault in self._faults.unfired]
        if unused:
            asked = ", ".join(f"{each.question.method} {each.question.path}" for each in unused[:5])
            texts.append(
                f"{len(unused)} of {len(self._library)} recorded calls in {self.path.name} were not asked for: {asked}. "
                'Record anew with --respan-record=rewrite, or pass unused="ignore".'
            )
        return texts

    def _unreadable(self) -> list[str]:
        """What is wrong with recordings that were not asked for, and so not read."""
        texts: list[str] = []
        for held in self._library.holds() if self.mode not in {"rewrite", "off"} else ():
            try:
                _ = held.recorded.answer
            except CassetteFileError as exc:
                texts.append(str(exc))
        return [text for text in texts if text not in self.mismatches]

    def _save(self, *, passed: bool) -> list[str]:
        if self.options.save == "never" or not (passed or self.options.save == "always"):
            return []
        with self._lock:
            live = [seen for seen in self._seen if seen.is_live and seen.answer is not None]
        kept = live if self.options.retries == "keep" else _without_retries(live, self._rules)
        calls = [Recorded(seen.question, seen.answer) for seen in kept if seen.answer is not None]
        try:
            recorded = self._redactor.calls(calls)
            self._saved = self._keeper.save(recorded, self._redactor.secrets)
        except CassetteError as exc:
            return [str(exc)]
        return []

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: object
    ) -> None:
        problems = self.stop(passed=error is None)
        if error is None and (self.mismatches or problems):
            raise self.raising("\n".join([*self.mismatches, *problems]))

    # -- in front of the network

    def take(self, request: Any, call: Any, name: str | None) -> _Shot:
        """Decide about *request*; see ``_tapes.Deck``."""
        self._learn(request.headers)
        question = self._question(request, call, name)
        with self._lock:
            seen = _Seen(len(self._seen) + 1, question)
            self._seen.append(seen)
            try:
                return self._shot(request, seen)
            except CassetteFileError as exc:  # an answer is read when it is first asked for
                self.mismatches.append(str(exc))
                raise self.raising(str(exc)) from None

    def _learn(self, headers: Any) -> None:
        # Most requests bring the keys of the one before, and to decode all headers takes long.
        sent = {(name.lower(), value) for name, value in headers.raw if name.lower() in _KEY_HEADERS}
        if not sent <= self._keys:
            texts = {name.decode(): value.decode("utf-8", "surrogateescape") for name, value in sent}
            self._redactor.secrets.learn(texts)
            self._keys |= sent

    def _question(self, request: Any, call: Any, name: str | None) -> Question:
        if call is None:
            url, params, body = request.url, None, _content(request)
        else:
            url, params = call.url, call.params and call.params.params
            body = _content(request) if call.body is None else call.body
        header = request.headers.get if call is None else _headers_of(call)
        path, _, query = _target_of(url).partition("?")
        return question_of(
            request.method,
            path,
            query,
            header("content-type"),
            body,
            header=header,
            params=params,
            via=name,
            headers=self._rules.headers,
        )

    def _shot(self, request: Any, seen: _Seen) -> _Shot:
        fault = self._faults.next(seen.question, seen.number)
        seen.masked = masked = self._redactor.question(seen.question)
        if fault is not None and not fault.only_delays:
            found = self._library.peek(masked)
            answer = fault.applied(None if found is None else found.answer)
            return self._played(request, seen, answer, fault.latency or 0.0)
        if self.mode == "verify":
            return _Shot(self, request, seen, expected=self._expected(masked))
        if not self.is_replaying:
            return _Shot(self, request, seen)
        taken = self._library.take(masked)
        if isinstance(taken, Taken):
            return self._played(request, seen, taken.recorded.answer, (fault and fault.latency) or 0.0)
        if self.is_recording:
            return _Shot(self, request, seen)
        raise self.raising(self._mismatch(taken, masked))

    def _mismatch(self, miss: Any, question: Question) -> str:
        text = describe(
            miss,
            question,
            test=self._test,
            file=str(self.path),
            number=len(self._seen),
            sent_from=sent_from(),
            mode=self.mode,
            exists=self._keeper.exists,
        )
        self.mismatches.append(text)
        return text

    def _expected(self, question: Question) -> Answer | None:
        taken = self._library.take(question)
        if isinstance(taken, Taken):
            return taken.recorded.answer
        self._mismatch(taken, question)
        return None

    def _played(self, request: Any, seen: _Seen, answer: Answer, latency: float) -> _Shot:
        seen.answer = answer
        return _Shot(self, request, seen, answer=self._hurried(answer), latency=latency)

    def _hurried(self, answer: Answer) -> Answer:
        """*answer*, which tells the SDK not to wait before it repeats the request."""
        if not self.skips_waits or answer.status is None or answer.status < 408:
            return answer
        others = [item for item in answer.headers if item[0] not in {"retry-after", "retry-after-ms"}]
        return answer._replace(headers=(*others, ("retry-after-ms", "1")))

    def landed(self, seen: _Seen, answer: Answer, expected: Answer | None) -> None:
        """A live call is over."""
        with self._lock:
            seen.answer = answer
            if expected is not None:
                from .shapes import changes

                found = [each for each in changes(expected, answer) if each.severity != "info"]
                self._warnings += [f"{seen.question.path}: {each.place}: {each.what}" for each in found]


class _Shot:
    """One request on its way past a cassette; see ``_tapes.Shot``."""

    def __init__(
        self,
        cassette: Cassette,
        request: Any,
        seen: _Seen,
        *,
        answer: Answer | None = None,
        latency: float = 0.0,
        expected: Answer | None = None,
    ) -> None:
        self.is_live = answer is None
        seen.is_live = self.is_live
        self._cassette = cassette
        self._request = request
        self._seen = seen
        self._expected = expected
        self._began = now()
        self.delay = latency
        if answer is not None:
            answer = answer._replace(chunks=recut(answer.chunks, cassette.options.split))
            head, self._delays = delays_of(answer, cassette.options)
            self.delay += head
        self._answer = answer

    def played(self) -> Any:
        """The recorded answer."""
        assert self._answer is not None  # noqa: S101 -- only asked where it is not live
        return played(self._request, self._answer, self._delays)

    def came(self, response: Any) -> Any:
        """A live answer began."""
        kept = kept_headers(response.headers.items(), self._cassette.options.keep_headers)

        def done(chunks: Sequence[Chunk], end: Any, failure: Failure | None) -> None:
            answer = Answer(response.status_code, kept, tuple(chunks), end, failure)
            self._cassette.landed(self._seen, answer, self._expected)

        def unpacked(chunks: list[Chunk], end: Any, failure: Failure | None) -> None:
            done(decoded(self._request, response, chunks), end, failure)

        if response.is_stream_consumed:  # by a client that was not asked for a stream
            body = response.content
            done([Chunk(round((now() - self._began) * 1000), body)] if body else [], "eof", None)
            return response
        return teed(response, Tee(self._began, _ends, unpacked))

    def failed(self, error: BaseException) -> None:
        """A live answer did not come."""
        failure = Failure(type(error).__name__, round((now() - self._began) * 1000))
        self._cassette.landed(self._seen, Answer(None, end="failed", failure=failure), self._expected)


#: Behind these nobody reads on, because the stream is over (openai/_streaming.py).
_LAST_WORDS = (b"data: [DONE]", b'"type":"response.completed"', b'"type": "response.completed"')


def _ends(chunks: list[bytes]) -> bool:
    tail = b"".join(chunks[-8:])
    return any(word in tail for word in _LAST_WORDS)


def _content(request: Any) -> bytes:
    """The body of *request*; a multipart one is read, and sent from memory then."""
    stream = getattr(request, "stream", None)
    if hasattr(stream, "__iter__"):
        content: bytes = request.read()
        return content
    return b""  # a generator that can only be awaited: what it will send is not known yet


def _headers_of(call: Any) -> Callable[[str], str | None]:
    """Gives the first value of each header of *call* by its name in lower case."""
    values = {name.lower(): value for name, value in reversed(call.headers)}

    def header(name: str) -> str | None:
        value = values.get(name.encode())
        return None if value is None else value.decode("latin-1")

    return header


def _target_of(url: Any) -> str:
    raw = getattr(url, "raw_path", None)
    text = raw.decode("latin-1") if isinstance(raw, bytes) else str(url)
    if raw is None:
        text = "/" + text.partition("://")[2].partition("/")[2]
    return text


def _without_retries(live: list[_Seen], rules: Rules) -> list[_Seen]:
    """Without failures after which the same request was answered: a rate limit must not become a fixture.

    One that failed to the end keeps every attempt, for so many are made when it is played.
    """
    keys = {seen.number: rules.key(seen.masked) for seen in live}
    answered = {keys[seen.number]: seen.number for seen in live if not _is_retried(seen)}
    return [
        seen for seen in live if not (_is_retried(seen) and answered.get(keys[seen.number], 0) > seen.number)
    ]


def _is_retried(seen: _Seen) -> bool:
    status = None if seen.answer is None else seen.answer.status
    return status is None or status == 429 or status >= 500


class cassette:  # noqa: N801 -- used as a function is
    """A cassette around a block or a function, sync or async: for use without pytest.

    ::

        with cassette("calls.json") as tape:
            ...

        @cassette("calls.json", mode="once")
        async def main(): ...

    What does not fit is a ``CassetteMismatch``, at the call and, if that was swallowed, at the end.

    Args:
        path: Of the file.
        options: As ``Options``: ``mode="none"`` answers from the file alone.

    Raises:
        CassetteError: if the file cannot be read as a cassette, or an option is wrong.
    """

    def __init__(self, path: str | os.PathLike[str], **options: Any) -> None:
        self._path = path
        self._options = Options.of(options)
        self._open: list[Cassette] = []

    def __enter__(self) -> Cassette:
        opened = Cassette(self._path, self._options).start()
        self._open.append(opened)
        return opened

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: object
    ) -> None:
        self._open.pop().__exit__(kind, error, traceback)

    def __call__(self, function: F) -> F:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                with cassette(self._path, **self._fresh()):
                    return await function(*args, **kwargs)

            return awaited  # type: ignore[return-value]

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            with cassette(self._path, **self._fresh()):
                return function(*args, **kwargs)

        return called  # type: ignore[return-value]

    def _fresh(self) -> dict[str, Any]:
        return {name: getattr(self._options, name) for name in Options.__slots__}
