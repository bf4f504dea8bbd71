"""What a budget counts, the same in every store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..exceptions import StoreError


if TYPE_CHECKING:
    from collections.abc import Iterable

    from .protocol import Charge


__all__ = ["MOST", "check_amounts", "fitting", "held_already", "room"]


#: Most that a budget can count, a signed integer of 64 bits: neither SQLite nor Redis has a larger one.
MOST = 2**63 - 1


def check_amounts(amounts: Iterable[int]) -> None:
    """Make sure that *amounts* can be taken from a budget.

    Raises:
        StoreError: if one is no integer, negative (it would give something back), or above :data:`MOST`.
    """
    for amount in amounts:
        if type(amount) is not int or not 0 <= amount <= MOST:
            raise StoreError(
                f"A budget counts whole units from 0 to {MOST}; nothing was taken. Round and check the price."
            )


def room(charge: Charge) -> int:
    """The most that may have been taken from the budget before *charge*; -1 if it never fits.

    Compared with what has been taken, it needs no sum that could grow beyond 64 bits.
    """
    limit = MOST if charge.limit is None else min(charge.limit, MOST)
    return max(limit - charge.amount, -1)


def fitting(held: int, amounts: int) -> None:
    """Make sure that a hold of *held* charges is settled with as many *amounts*.

    Raises:
        StoreError: if not; the hold is left as it is.
    """
    if held != amounts:
        raise StoreError(
            f"The hold has {held} charges, and {amounts} amounts came to settle it. Pass one for each."
        )


def held_already() -> StoreError:
    """The error for a reservation under the name of another one."""
    return StoreError(
        "The name of this hold is in use; nothing was taken. Give each reservation a name of its own."
    )
