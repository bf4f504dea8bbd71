"""Things of a few fields, cheap to define and to make.

``typing.NamedTuple`` and ``dataclasses`` write code for each class and compile it: a fifth of the time in which this
package was imported. So what nobody needs as a tuple is a :class:`Value`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from typing import Self


class Value:  # noqa: PLW1641 -- nobody's key
    """What its fields hold: compared, shown and copied by them.

    A subclass has an ``__init__`` that keeps each argument under its own name, and nothing sets them later.
    """

    def replace(self, **changes: Any) -> Self:
        """A copy with these fields changed."""
        return type(self)(**vars(self) | changes)

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if type(other) is type(self) else NotImplemented

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({fields})"
