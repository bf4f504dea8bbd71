"""A key that shows itself only to whoever asks for it by name."""

from __future__ import annotations

import os
from hmac import compare_digest
from typing import TYPE_CHECKING, NoReturn

from .exceptions import ConfigError


if TYPE_CHECKING:
    from collections.abc import Callable


class Secret:
    """A credential. ``repr``, ``str``, ``format`` and ``vars`` show ``'…'``, and it cannot be pickled."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The key itself; call it where the header is built and nowhere else."""
        return self._value

    def identity(self) -> str:
        """What tells this credential from others, for as long as the process lives."""
        return self._value

    def same_as(self, other: str) -> bool:
        """Whether *other* is this key, in constant time."""
        return compare_digest(self._value.encode(), other.encode())

    def __repr__(self) -> str:
        return "'…'"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "A credential is not pickled. Build the object that holds it anew where it is needed."
        )


class LateSecret(Secret):
    """A credential that a function returns each time it is needed, as rotating keys do."""

    __slots__ = ("_ask", "_what")

    def __init__(self, ask: Callable[[], object], *, what: str) -> None:
        super().__init__("")
        self._ask = ask
        self._what = what

    def reveal(self) -> str:
        """Ask for it now.

        Raises:
            ConfigError: if the function fails, or returns something that no header carries.
        """
        # In no local of this frame: collectors of errors show them.
        return _checked(self._asked(), f"what the api_key function given to {self._what} returned")

    def _asked(self) -> object:
        try:
            return self._ask()
        except Exception as exc:
            raise ConfigError(
                f"The api_key function given to {self._what} failed with {type(exc).__name__}, so there is no "
                "key to send."
            ) from exc

    def identity(self) -> str:
        """The function's; the key may change and still open the same account."""
        return f"function {id(self._ask)}"

    def same_as(self, other: str) -> bool:
        """Whether *other* is the key of this moment."""
        return compare_digest(self.reveal().encode(), other.encode())


def secret_from(value: object, variables: tuple[str, ...], *, what: str) -> Secret:
    """The key given as *value*, else the first of the environment *variables* that is set.

    Raises:
        ConfigError: if there is none, or it holds white space or characters that no header carries.
            The message names the source, never the value.
    """
    source = f"the api_key given to {what}"
    if value is None:
        variable = next((name for name in variables if os.environ.get(name)), None)
        if variable is None:
            raise ConfigError(f"{what} needs a key. Pass api_key=..., or set {' or '.join(variables)}.")
        value, source = os.environ[variable], f"the environment variable {variable}"
    if callable(value):
        return LateSecret(value, what=what)
    return Secret(_checked(value, source))


def _checked(value: object, source: str) -> str:
    problem = _problem_with(value)
    if isinstance(value, str) and problem is None:
        return value
    del value  # collectors of errors show the locals of every frame
    raise ConfigError(f"{source} {problem}")


def _problem_with(value: object) -> str | None:
    if not isinstance(value, str):
        return f"is of type {type(value).__name__}; expected a string."
    if not value or not value.isascii() or any(ch.isspace() or not ch.isprintable() for ch in value):
        return (
            "is empty or holds white space, control or non-ASCII characters, so it cannot be sent as a bearer token. "
            "Check for a line break or a quotation mark at its end."
        )
    return None
