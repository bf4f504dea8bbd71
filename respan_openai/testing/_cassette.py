"""A cassette: answers what was recorded, records what is new, and knows in the end what did not fit.

It stands in front of the network for every client of the process that this package serves (``_tapes``), below
retry and fallback: a recorded 429 goes through the real retry, and what was recorded at one target is played at any
other. What it compares is the call in neutral form, with secrets replaced as they are in the file.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._core.health import forget
from .._tapes import push, remove
from ._late import late
from ._outbound import asked
from ._seen import Counts, Log, Seen, unanswered, without_retries
from ._shot import Listening, Playing
from ._troubles import incomplete, leftovers, unreadable
from .errors import CassetteError
from .faults import Faults
from .match import Library, Miss, Taken
from .mismatch import CassetteMismatch, describe, sent_from
from .options import Options
from .recording import Recorded
from .redact import Redactor, check_kept
from .rules import Rules
from .saving import Keeper
from .secrets import Secrets


if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence
    from typing import Self

    from .._tapes import Outbound
    from .recording import Answer, Question
    from .views import CallView

    Shot = Playing | Listening


__all__ = ["Cassette", "Counts"]


class Cassette:
    """The calls of one test, and the file that they come from or go to.

    Not active before :meth:`start`. Every method may be called from several threads.

    Args:
        path: Of the file.
        options: How it behaves.
        test: Node id of the test, for messages.
        run: Id of the test run, the same in all of its processes.

    Attributes:
        raising: Makes what is raised for a request that has no recording, of its text; a ``BaseException``, so
            that no ``except Exception`` hides it.
        mismatches: Text of each such request, also of those whose exception somebody swallowed.
        errors: Statuses of the answers that were saved and are errors, from 400 on; none if all attempts are kept.

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
        self.errors: set[int] = set()
        self.path = Path(path)
        self._test = test
        self._keeper = Keeper(self.path, self.options, test=test, run=run)
        self._rules = Rules(self.options.ignore, self.options.match, self.options.normalize)
        self._faults = Faults(self.options.faults)
        self._redactor = Redactor(Secrets(), self.options.redact)
        check_kept(self.options.keep_headers)
        self._lock = threading.RLock()
        self._sent = set[tuple[bytes, bytes]]()
        self._log = Log()
        self._warnings: list[str] = []
        self._saved = 0
        own, *extra = self._keeper.recorded()
        self._library = Library(
            own, self._rules, ordered=self.options.ordered, repeats=self.options.repeats, extra=extra
        )

    def __repr__(self) -> str:
        return f"<Cassette {self.path.name}, {self.mode}, {len(self._log)} calls>"

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
        mode = self.options.mode
        return mode in {"none", "new"} or (mode == "once" and self._keeper.exists)

    @property
    def _needs_all(self) -> bool:
        """Whether every recording has to be asked for: not in ``new``, for tests that now ask otherwise."""
        return self.is_replaying and not self.is_recording

    @property
    def skips_waits(self) -> bool:
        """Whether nobody waits between attempts; see ``Options.retry_delay``."""
        return self.is_replaying and self.options.retry_delay == "skip"

    @property
    def calls(self) -> list[CallView]:
        """The calls of the test so far, in the order in which they were sent."""
        return self._log.calls

    @property
    def requests(self) -> list[dict[str, Any]]:
        """What was asked, as plain dicts: for snapshots."""
        return self._log.requests

    @property
    def unused(self) -> list[Recorded]:
        """Recordings that nobody has asked for."""
        return list(self._library.unused) if self.is_replaying else []

    @property
    def counts(self) -> Counts:
        """What became of the calls so far."""
        log = self._log
        return Counts(len(log.played), len(log.live), len(self.unused), self._saved, log.faults)

    @property
    def saved_seconds(self) -> float:
        """Seconds that the replayed answers took when they were recorded."""
        return sum(max((chunk.at for chunk in each.chunks), default=0) for each in self._log.played) / 1000

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

        *passed* tells whether the test did. A test that failed has other troubles than recordings it did not use,
        and its recordings are not saved (``Options.save``).

        A stream that is still open ends here, as if its reader had left it.
        """
        remove(self)
        forget()
        self._log.leave()
        problems: list[str] = []
        if self.is_recording:
            problems += self._save(passed=passed)
        if passed:
            problems += self._unplayed()
        return problems + self._warnings

    def _unplayed(self) -> list[str]:
        texts = [f"a fault never happened: {fault}" for fault in self._faults.unfired]
        if self._needs_all and self.options.unused != "ignore" and not self.mismatches:
            texts += leftovers(self._library, self.path, self._test)
        if self.mode not in {"rewrite", "off"}:
            texts += [text for text in unreadable(self._library) if text not in self.mismatches]
        return texts

    def _save(self, *, passed: bool) -> list[str]:
        if self.options.save == "never" or not (passed or self.options.save == "always"):
            return []
        live = self._log.live
        if passed and (missing := incomplete(unanswered(live))):
            return missing
        try:
            return self._write(live if self.options.retries == "keep" else without_retries(live))
        except CassetteError as exc:
            return [str(exc)]

    def _write(self, live: Sequence[Seen]) -> list[str]:
        """Save those of *live* that were answered; returns what keeps them from being saved."""
        self._redactor.secrets.look_around()
        kept = [(seen, Recorded(seen.question, seen.answer)) for seen in live if seen.answer is not None]
        recorded = self._redactor.calls(each for _, each in kept)
        found = late([seen for seen, _ in kept], recorded, self._rules, self._redactor)
        if not found:
            self._saved = self._keeper.save(recorded, self._redactor.secrets)
            statuses = (each.answer.status for each in recorded if self.options.retries != "keep")
            self.errors = {status for status in statuses if status is not None and status >= 400}
        return found

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: object
    ) -> None:
        problems = self.stop(passed=error is None)
        if error is None and (self.mismatches or problems):
            raise self.raising("\n".join([*self.mismatches, *problems]))

    # -- in front of the network

    def take(self, outbound: Outbound) -> Shot:
        """Decide about *outbound*; see ``_tapes.Deck``."""
        try:
            question, repeats = asked(outbound, self._rules.headers)
            with self._lock:
                return self._shot(outbound, self._log.add(question, outbound.call, repeats))
        except CassetteError as exc:  # the SDK would take it for a failed call, and repeat it
            self.mismatches.append(str(exc))
            raise self.raising(str(exc)) from None

    def _shot(self, outbound: Outbound, seen: Seen) -> Shot:
        fault = self._faults.next(seen.question, seen.number)
        latency = (fault and fault.latency) or 0.0
        if fault is not None and not fault.only_delays:
            found = self._library.peek(self._masked(outbound, seen))
            answer = fault.applied(None if found is None else found.answer)
            seen.is_fault = True
            return self._playing(outbound, seen, answer, latency)
        if self.options.mode == "verify":
            return self._listening(outbound, seen, expected=self._expected(self._masked(outbound, seen)))
        if not self.is_replaying:
            self._masked(outbound, seen)
            return self._listening(outbound, seen)
        taken = self._found(outbound, seen)
        if isinstance(taken, Taken):
            return self._playing(outbound, seen, taken.recorded.answer, latency)
        if self.is_recording:
            return self._listening(outbound, seen)
        raise self.raising(self._mismatch(taken, seen.masked))

    def _found(self, outbound: Outbound, seen: Seen) -> Taken | Miss:
        """The recording that answers *outbound*.

        One that asks the same word for word was recorded without a secret in it, so that nothing is to be replaced
        here either; hardly a question holds one.
        """
        taken = self._library.take(seen.question)
        if isinstance(taken, Taken) or self._masked(outbound, seen) == seen.question:
            return taken
        return self._library.take(seen.masked)

    def _masked(self, outbound: Outbound, seen: Seen) -> Question:
        """What *outbound* asks, as it is written, with all that is known to be secret by now."""
        self._learn(outbound)
        seen.masked = self._redactor.question(seen.question)
        return seen.masked

    def _learn(self, outbound: Outbound) -> None:
        """Know what *outbound* and its call are sent with, and what the environment has by now."""
        self._redactor.secrets.look_around()
        request, call = outbound.request, outbound.call
        sent = {*request.headers.raw, (b"?", request.url.query)}
        if call is not None:
            sent |= {*call.headers, (b"?", call.query)}
        new = sent - self._sent  # most requests bring the keys of the one before
        if new:
            texts = (
                (name.decode("latin-1"), value.decode("utf-8", "surrogateescape")) for name, value in new
            )
            self._redactor.secrets.learn(texts)
            self._sent |= new

    def _mismatch(self, miss: Any, question: Question) -> str:
        text = describe(
            miss,
            question,
            test=self._test,
            file=str(self.path),
            number=len(self._log),
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

    def _playing(self, outbound: Outbound, seen: Seen, answer: Answer, latency: float) -> Playing:
        seen.answer = answer
        return Playing(outbound.own, self._hurried(answer), self.options, latency)

    def _hurried(self, answer: Answer) -> Answer:
        """*answer*, which tells the SDK not to wait before it repeats the request."""
        if answer.status is None or answer.status < 408 or not self.skips_waits:
            return answer
        others = [item for item in answer.headers if item[0] not in {"retry-after", "retry-after-ms"}]
        return answer._replace(headers=(*others, ("retry-after-ms", "1")))

    def _listening(self, outbound: Outbound, seen: Seen, expected: Answer | None = None) -> Listening:
        def landed(came: Answer | BaseException) -> None:
            self._landed(outbound, seen, came, expected)

        seen.listening = Listening(outbound.request, self.options, landed)
        return seen.listening

    def _landed(
        self, outbound: Outbound, seen: Seen, came: Answer | BaseException, expected: Answer | None
    ) -> None:
        with self._lock:
            self._learn(outbound)  # who signs requests on their way has done so by now
            self._log.land(seen, came)
            if expected is not None and seen.answer is not None:
                from .shapes import changes

                found = [each for each in changes(expected, seen.answer) if each.severity != "info"]
                self._warnings += [f"{seen.question.path}: {each.place}: {each.what}" for each in found]
