"""What one call takes from its customer's budgets: known before it is sent, settled when it is over."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from ..exceptions import StoreError
from .contract import detail
from .customers import account_of, budgets_of, charges_for, identifier_in, marked_up, over_budget, profile_in
from .steps import Work


if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from ..stores.protocol import Charge, Store
    from .customers import Budget
    from .settings import Settings

    Steps = Generator[Any, Any, Any]


__all__ = ["LEASE_SECONDS", "Spending"]


#: How long after its deadline a call may still be settled; then it counts as what was reserved.
LEASE_SECONDS = 60.0

_log = logging.getLogger("respan_openai")


class Spending:
    """One call's customer, and what it takes.

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

    def keep_estimate(self) -> None:
        """What was reserved stays taken: a provider may have worked for it, and nobody knows how much."""
        self._hold = None

    def learn(self) -> Steps:
        """Bring the customer's profile up to date with what the request says, and read it.

        Raises:
            ContractError: 503 if the store cannot tell, and budgets are to be kept even so.
        """
        if self.identifier is None:
            return
        look = partial(self._store.customer, self._account)
        save = partial(self._store.save_customer, self._account, self._said)
        try:
            self.profile = (yield Work(save if self._said else look, self._store.blocks)) or {}
        except StoreError as exc:
            self._lost(exc)
            self.profile = self._said
        self._budgets = budgets_of(self.profile, self._at)

    def reserve(self, hold: str, cost: int | None, seconds: float) -> Steps:
        """Take *cost* (1e-9 USD, an upper bound; ``None``: unknown) for a call that is over in *seconds*.

        Raises:
            ContractError: 429 if a budget cannot pay, or there is no price to count with; 503 as for :meth:`learn`.
        """
        if not self._budgets:
            return
        charges = charges_for(self._account, self._budgets, self.profile, cost)
        try:
            exceeded = yield self._taking(hold, charges, seconds)
            if exceeded is not None:
                self._exceeded(self._budgets[charges.index(exceeded)])
                yield self._taking(hold, [charge._replace(limit=None) for charge in charges], seconds)
            self._hold = hold
        except StoreError as exc:
            self._lost(exc)

    def _taking(self, hold: str, charges: list[Charge], seconds: float) -> Work:
        expires = self._at + seconds + LEASE_SECONDS
        return Work(partial(self._store.reserve, hold, charges, self._at, expires), self._store.blocks)

    def _exceeded(self, budget: Budget) -> None:
        if self._settings.limits == "block":
            raise over_budget(budget, self._at)
        _log.warning("A customer's %s is used up; the call is let through, as Settings.limits says.", budget.what)

    def settle(self, cost: int | None, at: float) -> Steps:
        """The call is over and has cost *cost*; ``None``: nobody knows, and what was reserved stays taken."""
        hold, self._hold = self._hold, None
        if hold is None or cost is None:
            return
        money = marked_up(cost, self.profile)
        amounts = [money if budget.counts_money else 1 for budget in self._budgets]
        try:
            yield Work(partial(self._store.settle, hold, amounts, at), self._store.blocks)
        except StoreError as exc:
            _log.warning("The store could not settle what a call has cost; its estimate stays taken. %s", exc)

    def charged(self, cost: int | None) -> int | None:
        """*cost* with the customer's markup; ``None`` is unknown."""
        return None if cost is None else marked_up(cost, self.profile)

    def _lost(self, error: StoreError) -> None:
        _log.warning("The store cannot be asked about a customer's budgets. %s", error)
        if self._settings.budget_failure == "refuse":
            raise detail(503, "The gateway's store is out of reach, so no budget can be kept. Try again later.")
