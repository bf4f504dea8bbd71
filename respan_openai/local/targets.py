"""Candidates as the flow knows its targets: what each is sent, and why one of them can be sent nothing."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from ..exceptions import ParamsError, RespanError
from .contract import ContractError, invalid
from .echo import Echo
from .providers import Azure, name_at, paths_of


if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from .._core.call import Call, Outgoing, Raw
    from .._core.health import Health
    from .credentials import Credential
    from .providers import Upstream
    from .router import Candidate


__all__ = ["Target", "request_for"]


class Target:
    """One candidate, as the flow knows its targets.

    Args:
        provider: The candidate's.
        candidate: As the router chose it.
        write: Returns the body for the provider, with the model's name there (:func:`name_at`); may raise
            ``ContractError``. Called once, and only if the body is needed: most candidates are never asked.
        health: What is known about it.

    Attributes:
        name: The provider's.
        provider: As given.
        candidate: As given.
        outgoing: The newest request to it; ``None`` before it is asked.
    """

    guards = direct = prefill = False

    def __init__(
        self, provider: Upstream, candidate: Candidate, write: Callable[[], bytes], health: Health
    ) -> None:
        self.name = provider.name
        self.provider = provider
        self.candidate = candidate
        self.outgoing: Outgoing | None = None
        self._write = write
        self._health = health
        self._built: Outgoing | None = None

    def __repr__(self) -> str:
        return f"Target({self.name!r}, {self.candidate.model!r})"

    @cached_property
    def body(self) -> bytes:
        """For the provider.

        Raises:
            ContractError: 400 if it cannot be written.
        """
        return self._write()

    @property
    def paths(self) -> Collection[str]:
        """The provider's."""
        return paths_of(self.provider)

    def build(self, call: Call) -> Outgoing:
        """The provider's request for the candidate's model, with its credential.

        Raises:
            ContractError: 400 if there is none; ``unfit`` says so beforehand.
        """
        built, self._built = self._built or self._request(call), None
        self.outgoing = built
        return built

    def health(self, call: Call) -> Health:  # noqa: ARG002 -- as every target
        """What this gateway knows about the provider, the credential and the model."""
        return self._health

    def shares_key_with(self, other: object) -> bool:
        """Whether *other* asks the same provider with the same key."""
        mine = self.candidate
        return isinstance(other, Target) and (mine.provider, mine.credential) == (
            other.candidate.provider,
            other.candidate.credential,
        )

    def unfit(self, call: Call) -> str | None:
        """Why there is no request for *call* that this provider could be sent; ``None`` if there is one."""
        try:
            self._built = self._request(call)  # for build(), so that a key is asked for once
        except ContractError as exc:
            return exc.reply.reason or "it cannot be asked"
        except RespanError as exc:
            return str(exc)
        return None

    def _request(self, call: Call) -> Outgoing:
        sent, credential = self.candidate.sent, self.candidate.credential
        model = name_at(self.provider, sent)
        outgoing = request_for(
            self.provider, credential, call.path, call.headers, body=self.body, model=model
        )
        return outgoing.replace(model=sent)


def request_for(
    provider: Upstream, credential: Credential | None, path: str, headers: Raw, *, body: bytes, model: str
) -> Outgoing:
    """The request for *path*, with *credential* in the place of the stored one if there is one.

    Args:
        provider: Who is asked.
        credential: The request's own.
        path: Below ``/api``.
        headers: As they came in.
        body: For the provider.
        model: Its name at the provider, as in *body*.

    Raises:
        ContractError: 400 if the provider does not serve *path*, does not know such a credential, or has no
            place for the model or a field.
    """
    _check_path(provider, path)
    asked = provider if credential is None else _with(provider, credential)
    try:
        return asked.outgoing(path, headers, body, model)
    except ParamsError as exc:
        raise invalid(str(exc), exc.param) from None


def _check_path(provider: Upstream, path: str) -> None:
    paths = paths_of(provider)
    if path not in paths:
        raise invalid(
            f"Provider {provider.name!r} serves {' and '.join(sorted(paths))}, but not {path}. "
            "Name a model of another provider.",
            "model",
            "not_supported",
        )


def _with(provider: Upstream, credential: Credential) -> Upstream:
    if isinstance(provider, Echo):
        return provider
    key, base = credential.api_key, credential.api_base
    if key is None:
        raise invalid(
            f"The credential for {provider.name!r} has no api_key, which is what this provider takes.",
            "credential_override",
        )
    if isinstance(provider, Azure):
        return provider.with_credential(key, base, credential.api_version)
    return provider.with_credential(key, base)
