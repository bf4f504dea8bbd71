"""The gateway in this process: what it was given, and what all its calls share."""

from __future__ import annotations

import logging
import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from .._core.health import Health
from ..exceptions import ConfigError, StoreError
from ..stores.memory import MemoryStore
from ..targets import Gateway
from .callers import Callers
from .catalogue import Facts
from .echo import Echo
from .flights import Flights
from .handling import handled
from .keeping import mark_of
from .prices import Prices
from .prompts import Prompts
from .providers import Azure, Upstream, base_url_of
from .recent import Recent
from .router import Router
from .settings import Settings
from .steps import Work
from .transport import AsyncLocalTransport, LocalTransport


if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping
    from typing import Self

    from ..stores.protocol import Store
    from .callers import Caller
    from .router import Candidate
    from .rows import Row

    Steps = Generator[Any, Any, Any]


__all__ = ["LocalGateway"]


#: RFC 6761, 6.4: names under ``invalid`` never resolve, so a call that misses the transport goes nowhere.
BASE_URL = "http://respan.invalid/api"

_ANY_KEY = "local"

#: Share of the newest call in a model's measured latency.
_NEWEST = 0.3

#: Models that are remembered: their health, and how fast they have been.
_MOST_MODELS = 4096

_log = logging.getLogger("respan_openai")


class LocalGateway(Gateway):
    """The gateway in this process, without an account; can be given wherever a ``Gateway`` can.

    Serves ``POST`` on ``/api/chat/completions``, ``/api/responses``, ``/api/embeddings``,
    ``/api/audio/speech`` and ``/api/audio/transcriptions``, and ``GET /api/models``. The query of a request
    is not passed on.

    A model is asked of the provider whose name and a slash begin it (``openai/gpt-4o`` asks ``openai`` for
    ``gpt-4o``), else of the one that declares it in the settings, else of the first; the header
    ``X-Respan-Route-Provider`` wins over all of these. Names are compared without case.

    Args:
        providers: ``Provider(...)``, ``Azure(...)``, ``OpenRouter(...)``, ``Via(...)`` or ``Echo()``; the
            first is the default.
        api_keys: Keys that are let in, as bearer tokens; the first is also this gateway's own, which ``wrap``
            sends. A mapping says which environment each key stands for; a list stands for ``production``.
            Calls of different environments share nothing. Default: every key, and none, is let in.
        prompts: A folder of JSON and TOML files, ``StoredPrompt`` values, or a mapping from ids; those in the
            store come second.
        prices: A mapping from ``provider/model`` to ``Price``, a function, or ``Prices``; default: no price
            is known, and what is unknown is never 0.
        store: Where cache, budgets, customers, prompts and the log lie; default ``MemoryStore()``.
        settings: See ``Settings``.

    Attributes:
        store: As given.
        running: Rows of the calls under way, by id.

    Raises:
        ConfigError: if there is no provider, two have one name, or a key, prompt, price or group cannot be
            used.
    """

    name = "local"

    def __init__(
        self,
        providers: Iterable[Upstream] = (),
        *,
        api_keys: Iterable[str] | Mapping[str, str] | None = None,
        prompts: Any = None,
        prices: Any = None,
        store: Store | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.settings = Settings() if settings is None else settings
        self.providers = _by_name(providers)
        self.prompts = (
            prompts if isinstance(prompts, Prompts) else Prompts({} if prompts is None else prompts)
        )
        self.prices = prices if isinstance(prices, Prices) else Prices(prices)
        self.store: Store = MemoryStore() if store is None else store
        self.flights: Flights = Flights()
        self.running: dict[str, Row] = {}
        self.time: Callable[[], float] = time.time
        self._callers = Callers(api_keys)
        self._seconds: Recent[float] = Recent(_MOST_MODELS)
        self._healths: Recent[Health] = Recent(_MOST_MODELS)
        self._salt = os.urandom(32)
        self.router = Router(
            _facts(self.providers), self.settings, price=self.prices.of, measured=self._seconds.get
        )
        self._secret: bytes | None = None
        self._marks: dict[tuple[Caller, str], str] = {}
        self._known_health = Health(self.name, BASE_URL)  # two of them have nothing in common
        super().__init__(self._callers.first_key or _ANY_KEY, BASE_URL)

    @classmethod
    def echo(cls) -> Self:
        """A gateway that needs no provider: it repeats the last user message, offline."""
        return cls((Echo(),))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.providers.values())!r})"

    @property
    def accepts_anyone(self) -> bool:
        """Whether no key is asked for."""
        return self._callers.first_key is None

    def transport(self) -> LocalTransport:
        """A transport for ``Client``; closing it closes its connections to providers."""
        return LocalTransport(partial(handled, self), repr(self))

    def async_transport(self) -> AsyncLocalTransport:
        """Same as :meth:`transport`, for ``AsyncClient``."""
        return AsyncLocalTransport(partial(handled, self), repr(self))

    # -- what each call asks

    def admit(self, headers: Mapping[str, str]) -> Caller:
        """Who asks.

        Raises:
            ContractError: 401 if keys are asked for, and the request has none of them.
        """
        return self._callers.admit(headers)

    def health_at(self, candidate: Candidate) -> Health:
        """What is known about a model at a provider with a credential: limits hold for each of them."""
        credential = candidate.credential
        # Not the key itself: a mapping shows its keys.
        mark = None if credential is None else mark_of(self._salt, "", candidate)
        key = candidate.provider, candidate.sent, mark
        return self._healths.change(key, lambda known: known or Health(candidate.provider, candidate.sent))

    def measured(self, candidate: Candidate, seconds: float) -> None:
        """Note how long a model took to answer, or to begin to."""

        def smoothed(known: float | None) -> float:
            return seconds if known is None else known + _NEWEST * (seconds - known)

        self._seconds.change(f"{candidate.provider}/{candidate.sent}", smoothed)

    def cache_marks(self, caller: Caller) -> Steps:
        """Finds what stands for whose answers *caller* may be served.

        Returned is a function from candidates to marks, which are those of ``keeping.mark_of``; ``None`` if
        the store cannot tell its secret, and then nothing is cached. The secret is the same for all who share
        the store.
        """
        if self._secret is None:
            yield from self._learn_secret()
        secret = self._secret
        if secret is None:
            return None

        def mark(candidate: Candidate) -> str:
            return self._mark(secret, caller, candidate)

        return mark

    def _learn_secret(self) -> Steps:
        try:
            self._secret = yield Work(self.store.secret, self.store.blocks)
        except StoreError as exc:
            _log.warning("The store's secret cannot be read, so nothing is cached. %s", exc)

    def _mark(self, secret: bytes, caller: Caller, candidate: Candidate) -> str:
        if candidate.credential is not None:
            return mark_of(secret, caller.key, candidate)
        known = caller, candidate.provider  # whose repr hides the caller's key
        mark = self._marks.get(known)
        if mark is None:
            mark = self._marks[known] = mark_of(secret, caller.key, candidate)
        return mark


def _by_name(providers: Iterable[object]) -> dict[str, Upstream]:
    if isinstance(providers, Upstream):
        raise ConfigError("providers must be a list, even of one: LocalGateway([provider]).")
    found: dict[str, Upstream] = {}
    for provider in providers:
        if not isinstance(provider, Upstream):
            raise ConfigError(
                f"providers holds something of type {type(provider).__name__}; expected Provider, Azure, "
                "OpenRouter, Via or Echo."
            )
        if found.setdefault(provider.name.lower(), provider) is not provider:
            raise ConfigError(
                f"Two providers are named {provider.name!r}. Name them apart, so that calls can choose."
            )
    if not found:
        raise ConfigError(
            "A gateway needs a provider to ask. Pass LocalGateway([Provider(name, base_url, api_key)]), "
            "or use LocalGateway.echo(), which answers offline and without a key."
        )
    return found


def _facts(providers: Mapping[str, Upstream]) -> dict[str, Facts]:
    return {
        name: Facts(isinstance(provider, Azure), base_url_of(provider))
        for name, provider in providers.items()
    }
