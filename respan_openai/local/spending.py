"""What one call takes from its customer's budgets: known before it is sent, settled when it is over."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from ..exceptions import StoreError
from .contract import detail
from .customers import (
    account_of,
    budgets_of,
    charges_for,
    identifier_in,
    marked_up,
    over_budget,
    profile_in,
    without_price,
)
from .steps import Work


if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from ..stores.protocol import Charge, Store
    from .contract import ContractError
    from .customers import Budget
    from .settings import Settings

    Steps = Generator[Any, Any, Any]


__all__ = ["LEASE_SECONDS", "Spending"]


#: How long after its deadline a call may still be settled; then it counts as what was reserved.
LEASE_SECONDS = 60.0

_log = logging.getLogger("respan_openai")


class Spending:
    """One call's customer, and what it takes.

    Args:
        store: Keeps budgets and profiles.
        settings: ``limits`` and ``budget_failure`` are used.
        environment: Test and production have budgets of their own.
        params: The request's Respan parameters, checked.
        at: Seconds since 1970 when it came; its budgets are those of that moment.

    Attributes:
        identifier: Of the customer; ``None`` if the call has none, and then nothing is counted.
        profile: What is known about the customer.
    """

    def __init__(
        self, store: Store, settings: Settings, environment: str, params: Mapping[str, Any], at: float
    ) -> None:
        self.identifier = identifier_in(params)
        self.profile: dict[str, Any] = {}
        self._store = store
        self._settings = settings
        self._said = profile_in(params)
        self._account = "" if self.identifier is None else account_of(environment, self.identifier)
        self._at = at
        self._hold: str | None = None
        self._budgets: list[Budget] = []

    @property
    def has_budgets(self) -> bool:
        """Whether the customer has a limit of any kind, once that is learned."""
        return bool(self._budgets)

    def learn(self) -> Steps:
        """Read the customer's profile, and bring it up to date with what the request says.

        Raises:
            ContractError: 503 if the store cannot tell, and budgets are to be kept even so; 400 as
                ``budgets_of``, and then nothing is kept of what the request says.
        """
        if self.identifier is None:
            return
        try:
            yield from self._brought_up_to_date()
        except StoreError as exc:
            self._lost(exc)
            self.profile = {**self.profile, **self._said}
        self._budgets = budgets_of(self.profile, self._at)

    def _brought_up_to_date(self) -> Steps:
        look = partial(self._store.customer, self._account)
        self.profile = (yield Work(look, self._store.blocks)) or {}
        wanted = {**self.profile, **self._said}
        if wanted != self.profile:
            budgets_of(wanted, self._at)  # a profile that makes no sense would refuse all later calls
            save = partial(self._store.save_customer, self._account, self._said)
            self.profile = yield Work(save, self._store.blocks)

    def reserve(self, hold: str, cost: int | None, seconds: float) -> Steps:
        """Take *cost* (1e-9 USD, an upper bound; ``None``: unknown) for a call that is over in *seconds*.

        Raises:
            ContractError: 429 if a budget cannot pay, or there is no price to count with; 503 as for
                :meth:`learn`.
        """
        if not self._budgets:
            return
        if cost is None and any(budget.counts_money for budget in self._budgets):
            self._beyond(without_price(), "budget cannot be kept without a price")
        charges = charges_for(self._account, self._budgets, self.profile, cost or 0)
        # Before it is taken: a store that fails, or a caller that leaves, may have it all the same.
        self._hold = hold
        try:
            exceeded = yield self._taking(hold, charges, seconds)
            if exceeded is not None:
                budget = self._budgets[charges.index(exceeded)]
                self._beyond(over_budget(budget, self._at), f"{budget.what} is used up")
                yield self._taking(hold, [charge._replace(limit=None) for charge in charges], seconds)
        except StoreError as exc:
            self._lost(exc)

    def _taking(self, hold: str, charges: list[Charge], seconds: float) -> Work:
        expires = self._at + seconds + LEASE_SECONDS
        return Work(partial(self._store.reserve, hold, charges, self._at, expires), self._store.blocks)

    def _beyond(self, refusal: ContractError, what: str) -> None:
        if self._settings.limits == "block":
            self._hold = None
            raise refusal
        _log.warning("A customer's %s; the call is let through, as Settings.limits says.", what)

    def settle(self, cost: int | None, at: float) -> None:
        """The call was over at *at* and has cost *cost*; if that is ``None``, what was reserved stays taken.

        Only the first time counts. May wait for the store.

        Raises:
            StoreError: if it could not be settled; what was reserved stays taken.
        """
        hold, self._hold = self._hold, None
        if hold is None or cost is None:
            return
        money = marked_up(cost, self.profile)
        self._store.settle(hold, [money if budget.counts_money else 1 for budget in self._budgets], at)

    def charged(self, cost: int | None) -> int | None:
        """*cost* with the customer's markup; ``None`` is unknown."""
        return None if cost is None else marked_up(cost, self.profile)

    def _lost(self, error: StoreError) -> None:
        _log.warning("The store cannot be asked about a customer's budgets. %s", error)
        if self._settings.budget_failure == "refuse":
            message = "The gateway's store is out of reach, so no budget can be kept. Try again later."
            raise detail(503, message)
