"""One target that fails, in each of the roles that it can have, with the others around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from respan_openai import DIRECT, Breaker, health, last_call

from .answers import openai_error, respan_error
from .standing import standing
from .steps import Answer, Ok


if TYPE_CHECKING:
    from respan_openai import CallRecord, TargetHealth

    from .scripted import Scripted
    from .world import World


#: Who fails, and in whose words: the gateway in Respan's own, the gateway with the body of a provider behind it,
#: a ``Provider`` among the fallbacks, and ``DIRECT``.
ROLES = ("gateway", "relayed", "provider", "direct")

#: Those in which a failure is told in a provider's words.
IN_PROVIDERS_WORDS = ROLES[1:]

#: What those say that are asked next.
ELSEWHERE = "From elsewhere."


class Scene:
    """A wrapped client, and the servers that it may call.

    In the roles of a provider the gateway is down, and comes first. Behind the failing target stand others, all of
    them well, unless it is ``alone``: ``DIRECT``, if it is not the failing one, and the server ``second``. No breaker
    opens.

    Attributes:
        failing: Plays the script.
        onward: Whom a failure of the target itself leads to.
    """

    #: What the gateway says, where it is not itself the failing target.
    DOWN = Answer(503, respan_error("Down."))

    def __init__(self, world: World, role: str, *, streamed: bool = False) -> None:
        self.world, self.role, self.streamed = world, role, streamed
        is_gateway = role in {"gateway", "relayed"}
        self.gateway = world.gateway(self.DOWN)
        self.provider, self.second = world.provider(Ok(ELSEWHERE)), world.server("second", Ok(ELSEWHERE))
        self.failing = self.gateway if is_gateway else self.provider
        if role == "provider":
            self.failing = world.server("first")
        self.onward = self.provider if role in {"gateway", "provider"} else self.second
        self.client: Any = None

    @property
    def name(self) -> str:
        """Of the failing target, in records."""
        return {"provider": "first", "direct": "direct"}.get(self.role, "respan")

    def error(self, message: str = "It failed.", code: str | None = None, kind: str = "some_error") -> Any:
        """The body of an error, in the role's words; *code* and *kind* only where they belong to them."""
        return respan_error(message) if self.role == "gateway" else openai_error(message, kind, code)

    def play(self, *script: Any, alone: bool = False, fallbacks: Any = None, **options: Any) -> None:
        """Let the failing target play *script*, and make the client.

        Args:
            script: Steps.
            alone: Without further targets.
            fallbacks: In place of all targets behind the gateway: a function of the usual ones.
            options: Of ``wrap``, and ``client`` for those of the client.
        """
        self.failing.then(script)
        behind = [DIRECT, self.world.provider_of(self.second)]
        before = [self.world.provider_of(self.failing)] if self.role == "provider" else []
        if alone:
            behind = [DIRECT] if self.role == "direct" else []
        targets = before + behind
        options["fallbacks"] = targets if fallbacks is None else fallbacks(targets)
        options.setdefault("breaker", Breaker(failures=1000, minimum=1000))
        self.client = self.world.wrapped(self.provider, self.gateway, **options)

    async def ask(self, **kwargs: Any) -> str:
        """What the model said, streamed or not."""
        if self.streamed:
            return await self.world.text(self.client, **kwargs)
        completion = await self.world.call(self.client, **kwargs)
        return str(completion.choices[0].message.content)

    def standing(
        self, failing: int | range | None, onward: int = 0, *, to: Scripted | None = None, **options: Any
    ) -> Any:
        """As the function: so many requests at the failing target, so many at the next, and none at any other.

        Where the gateway is not itself the failing one, it has seen one for each of so many *calls*, by default 1.
        """
        calls = options.pop("calls", 1)
        counts: dict[Scripted, Any] = {self.gateway: calls, self.provider: 0, self.second: 0}
        counts[to or self.onward] = onward
        counts[self.failing] = failing
        return standing(counts, self.client, **options)

    @property
    def record(self) -> CallRecord:
        """Of the newest call."""
        record = last_call()
        assert record is not None
        return record

    @property
    def attempts(self) -> list[Any]:
        """Those of the newest call at the failing target, in order."""
        return [attempt for attempt in self.record.attempts if attempt.target == self.name]

    @property
    def health(self) -> TargetHealth:
        """Of the failing target."""
        (known,) = [known for known in health() if known.origin == self.failing.origin]
        return known
