"""One request and its answer: what is known about it, and what is due once when it is over.

However it ends, its cost is settled, its answer kept for equal calls, and its row logged, in this order and as one
piece of work: nothing that happens meanwhile, such as a cancellation, leaves half of it. By then the answer was
given, so whatever goes wrong is a line in Python's log.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from .._clock import now
from .._core.trace import Trace
from ..exceptions import StoreError
from .asking import may_be_billed
from .customers import NANO
from .rows import Row
from .steps import Work


if TYPE_CHECKING:
    from collections.abc import Callable

    from .callers import Caller
    from .entries import Entry
    from .gateway import LocalGateway
    from .keeping import Keeping
    from .metering import Metering
    from .reading import Asked
    from .router import Candidate
    from .spending import Spending

    Message = Callable[[], object]


__all__ = ["Exchange"]


_LOG_ID = "X-Respan-Log-Id"
_REQUEST_ID = "x-respan-gateway-request-id"

_log = logging.getLogger("respan_openai")


class Exchange:
    """A request that was let in, and all that becomes known about it.

    Args:
        gateway: Whose it is.
        request: As it came in.
        path: Below ``/api``.
        caller: Who asks.

    Attributes:
        gateway: As given.
        request: As given.
        path: As given.
        caller: As given.
        at: Seconds since 1970 when it came.
        began: The same in monotonic seconds.
        row: For the log; among those that are running until it is over.
        headers: Of the answer, besides the provider's and the row's id.
        trace: Attempts so far.
        asked: What the request says, once it is read.
        fields: OpenAI's fields, once prompts are rendered.
        metering: What it takes, once there are fields.
        spending: Its customer; ``None`` before it is read.
        keeping: Its part in the cache; ``None`` without.
        candidates: Who may be asked.
        is_sent: Whether a provider may know of it.
        omits_log: Whether it leaves no row.
    """

    asked: Asked
    fields: dict[str, Any]
    metering: Metering

    def __init__(self, gateway: LocalGateway, request: Any, path: str, caller: Caller) -> None:
        self.gateway = gateway
        self.request = request
        self.path = path
        self.caller = caller
        self.at = gateway.time()
        self.began = now()
        self.row = Row(self.at, caller.environment, path)
        self.headers = [(_REQUEST_ID, self.row.id)]
        self.trace = Trace(path, self.began)
        self.spending: Spending | None = None
        self.keeping: Keeping | None = None
        self.candidates: list[Candidate] = []
        self.is_sent = self.omits_log = False
        self._is_over = False
        gateway.running[self.row.id] = self.row

    def work(self, do: Callable[[], object]) -> Work:
        """The step that does *do*, which may wait for the store."""
        return Work(do, self.gateway.store.blocks)

    def answer_headers(self) -> list[tuple[str, str]]:
        """``headers``, and the id of its row if there will be one."""
        return self.headers if self.omits_log else [(_LOG_ID, self.row.id), *self.headers]

    # -- how it ends: each may wait for the store, and only the first one counts

    def answered(self, status: int, *, model: str | None = None, message: Message | None = None) -> None:
        """An answer was given that is not kept; *message* finds what it says."""
        self._note(status, model, message)
        self._finish(self.metering.cost)

    def delivered(self, entry: Entry, candidate: Candidate, message: Message, *, streamed: bool) -> None:
        """*entry*, by which *candidate* answered, was given, and may be given again; *message* as above."""
        self._note(entry.status, entry.model, message)
        keeping = self.keeping
        keep = None if keeping is None else partial(keeping.keep, candidate, entry, streamed=streamed)
        self._finish(self.metering.cost, keep)

    def refused(self, status: int, reason: str | None) -> None:
        """It was refused, here or by who was asked."""
        self.row["status"], self.row["error"] = status, reason
        self._finish(self._cost_of_nothing(), metered=False)

    def abandoned(self, error: BaseException) -> None:
        """Nobody was answered: the caller has gone, or *error* broke what is no provider's doing."""
        self.row["error"] = type(error).__name__ if isinstance(error, Exception) else "abandoned"
        self._finish(None if self.is_sent else 0, metered=False)

    def dropped(self) -> None:
        """Nobody is there to do any work: it is forgotten, and those who wait for it wait out their time."""
        self._is_over = True
        self.keeping = None
        self.gateway.running.pop(self.row.id, None)

    # -- what that takes

    def _cost_of_nothing(self) -> int | None:
        return None if any(map(may_be_billed, self.trace.tried)) else 0

    def _note(self, status: int, model: str | None, message: Message | None) -> None:
        row = self.row
        row["status"], row["answer_model"] = status, model
        if message is not None and row.keeps_text:
            _done("An answer's message cannot be read.", lambda: row.answered(message()))

    def _finish(
        self, cost: int | None, keep: Callable[[], None] | None = None, *, metered: bool = True
    ) -> None:
        if self._is_over:
            return
        self._is_over = True
        try:
            self._describe(cost if metered else None, metered=metered)
            _done("The store could not settle what a call has cost.", partial(self._settle, cost))
            if keep is not None:
                _done("The cache cannot be written; the answer is delivered all the same.", keep)
            if not self.omits_log:
                _done("A row of the call log is lost.", partial(self.gateway.store.log, self.row.finished()))
        finally:
            self._let_go()

    def _describe(self, cost: int | None, *, metered: bool) -> None:
        row, spending = self.row, self.spending
        row["latency"] = now() - self.began
        row.attempted(self.trace, self.candidates, self.began)
        if metered:
            row.metered(self.metering.tokens, cost)
            charged = None if spending is None else spending.charged(cost)
            row["customer_cost"] = None if charged is None else charged / NANO

    def _settle(self, cost: int | None) -> None:
        if self.spending is not None:
            self.spending.settle(cost, self.gateway.time())

    def _let_go(self) -> None:
        if self.keeping is not None:
            self.keeping.land(None)
        self.gateway.running.pop(self.row.id, None)


def _done(failure: str, do: Callable[[], object]) -> None:
    try:
        do()
    except StoreError as exc:
        _log.warning("%s %s", failure, exc)
    except Exception as exc:  # a store of the user's own, perhaps; its words may hold a prompt
        _log.warning("%s (%s)", failure, type(exc).__name__)
