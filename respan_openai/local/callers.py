"""Who may come in: the keys that a gateway accepts, and the environment that each of them stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, cast

from .._secret import secret_from
from ..exceptions import ConfigError
from .contract import detail


if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._secret import Secret


__all__ = ["Caller", "Callers"]


DEFAULT_ENVIRONMENT = "production"


class Caller(NamedTuple):
    """Who asks the gateway.

    Attributes:
        environment: That the key stands for.
        key: That was sent, or empty where none is asked for; its ``repr`` leaves it out.
    """

    environment: str
    key: str = ""

    def __repr__(self) -> str:
        return f"Caller({self.environment!r})"


class Callers:
    """The keys of one gateway.

    Args:
        keys: Accepted keys; with a mapping, each one's environment, which is ``production`` otherwise. ``None`` lets
            everybody in.

    Raises:
        ConfigError: if there is none, or one that no header carries; if an environment has no name.
    """

    def __init__(self, keys: Iterable[str] | Mapping[str, str] | None) -> None:
        self._accepted = None if keys is None else _accepted(keys)

    @property
    def first_key(self) -> str | None:
        """The key that this process itself comes in with; ``None`` if any would do."""
        return None if self._accepted is None else self._accepted[0][0].reveal()

    def admit(self, headers: Mapping[str, str]) -> Caller:
        """Who asks, by the request's *headers*.

        Raises:
            ContractError: 401 if keys are asked for, and the request has none of them.
        """
        if self._accepted is None:
            return Caller(DEFAULT_ENVIRONMENT)
        scheme, _, key = headers.get("authorization", "").partition(" ")
        # Every key is compared, so the time taken does not tell which one was right.
        found = [caller for accepted, caller in self._accepted if accepted.same_as(key.strip())]
        if scheme.lower() != "bearer" or not found:
            message = (
                "Invalid or missing API key. Send one of the gateway's api_keys as Authorization: Bearer."
            )
            raise detail(401, message, ("WWW-Authenticate", "Bearer"))
        return found[0]


def _accepted(keys: Iterable[str] | Mapping[str, str]) -> list[tuple[Secret, Caller]]:
    if isinstance(keys, str | bytes):
        raise ConfigError("api_keys must be a list, even of one: api_keys=[key].")
    environments: dict[str, str] = (
        dict(cast("Mapping[str, str]", keys))
        if isinstance(keys, Mapping)
        else dict.fromkeys(keys, DEFAULT_ENVIRONMENT)
    )
    if not environments:
        raise ConfigError("api_keys is empty, so nobody could come in. Leave it out to let every key in.")
    return [_checked(key, environment) for key, environment in environments.items()]


def _checked(key: str, environment: object) -> tuple[Secret, Caller]:
    if not isinstance(environment, str) or not environment:
        raise ConfigError(
            "api_keys as a mapping goes from each key to the name of its environment, such as {key: 'test'}; one of "
            "those names is empty or no text."
        )
    return secret_from(key or "", (), what="LocalGateway"), Caller(environment, key)
