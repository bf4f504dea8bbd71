"""Where calls go: each target builds its own request and holds its own credential.

A target's credential is attached last, to a URL of that target's own origin and to nothing else. What the
SDK put on the request for its provider (key, organization, project, cookies) is left behind: headers are
taken from an allow-list, never copied and thinned out.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import openai

from ._azure import deployment_of
from ._carriers import CONTAINER_NEEDLE, Ambient, place
from ._core.call import (
    SERVED,
    Outgoing,
    Prepared,
    Raw,
    dump_object,
    find_string,
    holds,
    parse_object,
    string_field,
    with_string,
)
from ._core.health import health_of
from ._core.origin import origin_of, same_origin
from ._core.values import Value
from ._headers import HeaderRule, header_value
from ._secret import LateSecret, Secret, secret_from
from ._warn import warn
from ._wire import CONTAINERS, HEADER
from .exceptions import ConfigError, ParamsError


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self

    from ._azure import Deployment
    from ._core.call import Call
    from ._core.health import Health


__all__ = ["Gateway", "Provider"]

#: Of the gateway's parameters, those that are OpenAI's as well, with a meaning of their own.
_SHARED = frozenset({"metadata", "prompt"})

#: What the SDK takes for "not given"; ``omit`` is the newer name.
_OMITTED: set[type[Any]] = {type(openai.NOT_GIVEN), type(getattr(openai, "omit", openai.NOT_GIVEN))}

#: Beta features the gateway documents (reference 001 and 002, header ``X-Respan-Beta``).
BETA_FLAGS = frozenset({"token-breakdown-2026-03-26", "env-scoped-integrations-2026-03-28"})

HOSTED = "https://api.respan.ai/api"

_HEADER = HEADER.encode()
_KEY_VARIABLES = ("RESPAN_API_KEY", "KEYWORDSAI_API_KEY")
_URL_VARIABLES = ("RESPAN_BASE_URL", "KEYWORDSAI_BASE_URL")


_MOST_RECIPES = 32


class _Recipe(Value):
    """What one request became, for later ones that differ only in their bodies."""

    def __init__(
        self,
        before: Raw,
        length: bytes,
        behind: Raw,
        names_model: bytes,
        url: str,
        prepared: Prepared,
        model: str | None,
    ) -> None:
        self.before = before
        self.length = length
        self.behind = behind
        self.names_model = names_model
        self.url = url
        self.prepared = prepared
        self.model = model

    def __repr__(self) -> str:
        return f"<{self.url}>"

    def applied(self, call: Call) -> Outgoing | None:
        """What *call* becomes; ``None`` if it differs in more than its body."""
        headers, body, params = call.headers, call.body, call.params
        at = len(self.before)
        if (
            body is None
            or len(headers) <= at
            or headers[at][0] != self.length
            or headers[at + 1 :] != self.behind
            or headers[:at] != self.before
            or not body.startswith(self.names_model)
            or holds(body, CONTAINER_NEEDLE)
            or (params is not None and (params.header() is None or params.may_meet(body)))
        ):
            return None
        length = headers[at]
        extra = (length,) if params is None else (length, (_HEADER, params.header().encode()))
        return Outgoing(self.url, self.prepared, None, self.model or string_field(body, "model"), extra)


class Gateway:
    """The hosted Respan gateway.

    Serves ``POST`` on ``/chat/completions``, ``/responses``, ``/embeddings``, ``/audio/transcriptions`` and
    ``/audio/speech``; whatever else a client asks for never gets here.

    Args:
        api_key: The gateway's key; default the environment variable ``RESPAN_API_KEY``, then
            ``KEYWORDSAI_API_KEY``. Test or production is decided by the key, there is no ``env`` parameter.
        base_url: Default ``RESPAN_BASE_URL``, then ``KEYWORDSAI_BASE_URL``, then
            ``https://api.respan.ai/api``. A slash at the end does not matter, and a bare origin gets
            ``/api`` appended.
        route_provider: Sent as ``X-Respan-Route-Provider``: pins the provider without a change of the model's
            name. A call to an Azure deployment is pinned to ``azure`` unless this says otherwise.
        beta: Feature flags for ``X-Respan-Beta``. Unknown ones are sent, with a warning.
        forward_credentials: Send the client's own provider key to the gateway, as ``credential_override``
            for the model of the call (for Azure with ``api_base`` and ``api_version``), so that the gateway
            calls the provider with it. ``POST /responses`` needs that unless the key is stored in the
            gateway's settings (reference 000). Off by default: no provider key leaves for the gateway.
        headers: Names of further request headers to forward; others than the SDK's own are dropped with a
            warning, because they may hold a key.
        prefill: Whether the models asked here go on with a last assistant message, so that the rest of a broken
            stream may be asked for (``Streams(continuation=True)``). Most take it for a finished turn.

    Raises:
        ConfigError: if there is no key, or the key, the URL or a header cannot be used.
    """

    name = "respan"

    #: Refuses for its own reasons: budgets, limits, policies.
    guards = True
    direct = False

    _keeps_client_keys = False
    _known_health: Health | None = None

    #: Paths that are sent here.
    paths = frozenset(path.decode() for path in SERVED)

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        route_provider: str | None = None,
        beta: Iterable[str] = (),
        forward_credentials: bool = False,
        headers: Iterable[str] = (),
        prefill: bool = False,
    ) -> None:
        self.prefill = prefill
        self._base = gateway_base(base_url)
        self._key = secret_from(api_key, _KEY_VARIABLES, what=type(self).__name__)
        self._forward_credentials = forward_credentials
        self._rule = HeaderRule(headers, target=self.name)
        self._host = host_header(self._base)
        self._route = None if route_provider is None else header_value(route_provider, what="route_provider")
        self._beta = _beta_header(beta)
        self._recipes: dict[bytes, _Recipe] = {}

    @classmethod
    def of_client(cls, key: str, base_url: str) -> Gateway:
        """The gateway that a client already speaks to: each call keeps the key that the client put on it."""
        gateway = cls(key, base_url)
        gateway._keeps_client_keys = True
        return gateway

    @property
    def base_url(self) -> str:
        """As calls see it, without a slash at the end."""
        return self._base

    def __repr__(self) -> str:
        return f"{type(self).__name__}(api_key='…', base_url={self._base!r})"

    def owns(self, url: str) -> bool:
        """Whether *url* has the gateway's own origin."""
        return same_origin(url, self._base)

    def holds(self, key: str) -> bool:
        """Whether *key* is the gateway's own key, by itself or behind an authentication scheme."""
        return self._key.same_as(key.rpartition(" ")[2])

    def build(self, call: Call) -> Outgoing:
        """The request for *call*.

        Raises:
            ParamsError: if its parameters have no place on the wire, or a header holds a line break.
            ConfigError: if ``forward_credentials`` meets a credential that the gateway has no field for.
        """
        recipe = self._recipes.get(call.raw_path)
        return (recipe is not None and recipe.applied(call)) or self._built(call)

    def _built(self, call: Call) -> Outgoing:
        deployment = deployment_of(call)
        body = _renamed(call.body, deployment)
        kept, framing, carriers = self._rule.split(call.headers)
        _check_sendable(kept)
        placed = place(self._ambient(call, deployment), body, carriers)
        own = [(b"Authorization", self._bearer(call)), *self._own(kept, azure=deployment is not None)]
        extra = () if placed.header is None else ((_HEADER, placed.header.encode()),)
        changed = body if placed.body is None else placed.body
        outgoing = Outgoing(
            self._base + call.path + _query(call, deployment),
            [self._host, *kept, *own],
            None if changed is call.body else changed,
            string_field(changed, "model"),
            framing + extra if changed is call.body else extra,
        )
        if changed is call.body and len(framing) == 1 and not carriers and self._may_remember:
            self._remember(call, outgoing)
        return outgoing

    @property
    def _may_remember(self) -> bool:
        # A key that is asked for may be another one the next time.
        return not self._forward_credentials and not isinstance(self._key, LateSecret)

    def _remember(self, call: Call, outgoing: Outgoing) -> None:
        headers, body = call.headers, call.body
        at = next((at for at, (name, _) in enumerate(headers) if name.lower() == b"content-length"), None)
        if body is None or at is None:
            return
        if len(self._recipes) >= _MOST_RECIPES:
            self._recipes.clear()
        found = find_string(body, "model")
        names_model = body[: found.end] if found is not None and body.startswith(b'"model"', 1) else b""
        self._recipes[call.raw_path] = _Recipe(
            headers[:at],
            headers[at][0],
            headers[at + 1 :],
            names_model,
            outgoing.url,
            Prepared(outgoing.headers),
            outgoing.model if names_model else None,
        )

    def health(self, call: Call) -> Health:
        """What the process knows about this origin and key."""
        if self._keeps_client_keys:
            return health_of(self.name, origin_text(self._base), self._bearer(call).decode("latin-1"))
        if self._known_health is None:
            self._known_health = health_of(self.name, origin_text(self._base), self._key.identity())
        return self._known_health

    def unfit(self, call: Call) -> str | None:  # noqa: ARG002 -- as every target
        """Any call can be put to a gateway."""
        return None

    def _bearer(self, call: Call) -> bytes:
        # A client that was built for this very origin has the right key already, and may change it as it goes.
        own = call.header(b"authorization") if self._keeps_client_keys and self.owns(str(call.url)) else None
        return own.encode("latin-1") if own else b"Bearer " + self._key.reveal().encode()

    def _own(self, kept: Raw, *, azure: bool) -> Raw:
        own: Raw = []
        route = self._route or (b"azure" if azure else None)
        if route and not _has(kept, b"x-respan-route-provider"):
            own.append((b"X-Respan-Route-Provider", route))
        if self._beta and not _has(kept, b"x-respan-beta"):
            own.append((b"X-Respan-Beta", self._beta))
        return own

    def _ambient(self, call: Call, deployment: Deployment | None) -> Ambient | None:
        params: Ambient | None = call.params
        if not self._forward_credentials:
            return params
        credential = _credential(call, deployment)
        if credential is None or self.holds(credential["api_key"]):
            return params
        selector = (deployment and deployment.model) or string_field(call.body, "model")
        selector = selector or ("azure" if deployment else "openai")
        return Ambient({"credential_override": {selector: credential}}).under(params)


class Endpoint:
    """An address, and a key that goes there alone; requests to it are in its own words already."""

    _base: str
    _key: Secret
    _host: tuple[bytes, bytes]
    _rule: HeaderRule
    _fixed: Raw

    def outgoing(self, path: str, headers: Raw, body: bytes, model: str) -> Outgoing:
        """The request for *path*.

        Args:
            path: Below the address.
            headers: Those that came in; what passes the allow-list is sent.
            body: Sent as it is.
            model: The endpoint's name for the one that is asked for, as it stands in *body*.

        Raises:
            ParamsError: if this endpoint has no place for the model or a field.
        """
        kept, _, _ = self._rule.split(headers)
        return self._outgoing(path, kept, body, model)

    def with_credential(self, key: str, base_url: str | None = None) -> Self:
        """The same with another key, at another address if one is given; this one does not change.

        Raises:
            ConfigError: if the key or the URL cannot be used.
        """
        other = copy.copy(self)
        base = self._base if base_url is None else checked_base(base_url)
        secret = secret_from(key, (), what=type(self).__name__)
        vars(other).update(_key=secret, _base=base, _host=host_header(base))
        return other

    def _outgoing(self, path: str, kept: Raw, body: bytes | None, model: str | None) -> Outgoing:
        own = [(name, value) for name, value in kept if not name.lower().startswith(b"x-respan-")]
        bearer = (b"Authorization", b"Bearer " + self._key.reveal().encode())
        return Outgoing(self._base + path, [self._host, *own, *self._fixed, bearer], body, model)


class Provider(Endpoint):
    """Any endpoint that speaks OpenAI's HTTP interface, with a key of its own.

    Args:
        name: In records, in the model prefix ``name/`` and in ``X-Respan-Route-Provider``.
        base_url: With the version, as openai-python takes it: ``https://api.openai.com/v1``.
        api_key: Sent as bearer token, to this origin only; or a function that returns it, asked at each
            attempt.
        models: As a fallback: model asked for to this provider's name for it. A name that is not in it is sent
            as it is, without a prefix that is this provider's name.
        overrides: As a fallback: fields of the body to set; ``openai.omit`` takes one out:
            ``{"temperature": omit}``.
        headers: Names of request headers to forward besides the SDK's own.
        prefill: As for :class:`Gateway`.

    Raises:
        ConfigError: if the name, URL or key cannot be used, or *models* or *overrides* are no such mapping.
    """

    paths = Gateway.paths
    guards = False
    direct = False

    #: Whether it takes a ``LocalGateway`` to ask it, because no HTTP client reaches it by its URL.
    needs_gateway = False

    def __init__(
        self,
        name: str,
        base_url: str,
        api_key: str | Callable[[], str],
        *,
        models: Mapping[str, str] | None = None,
        overrides: Mapping[str, Any] | None = None,
        headers: Iterable[str] = (),
        prefill: bool = False,
    ) -> None:
        self.prefill = prefill
        self.name = header_value(name, what="a provider's name").decode()
        self._base = checked_base(base_url)
        self._key = secret_from(api_key, (), what=f"Provider({name!r})")
        self._rule = HeaderRule(headers, target=name)
        self._host = host_header(self._base)
        self._fixed = []
        self._models = _mapping(models, "models", of=str)
        self._overrides = _mapping(overrides, "overrides", of=object)

    def __repr__(self) -> str:
        return f"Provider({self.name!r}, {self._base!r}, api_key='…')"

    @property
    def base_url(self) -> str:
        """Without a slash at the end."""
        return self._base

    @property
    def models(self) -> Mapping[str, str]:
        """Models asked for, and this provider's names for them."""
        return self._models

    def build(self, call: Call) -> Outgoing:
        """The request for *call* as a fallback: Respan's parameters left out, the model translated."""
        kept, framing, _ = self._rule.split(call.headers)
        if call.body is None or not is_object(call.body):
            sent = self._outgoing(call.path, kept, None, None)
            return sent.replace(extra=framing)
        body = parse_object(stripped(call.path, call.body) or call.body) | self._overrides
        model = body.get("model")
        if isinstance(model, str):
            body["model"] = model = self._named(model)
        left_out = {name for name, value in self._overrides.items() if type(value) in _OMITTED}
        sent_body = {name: value for name, value in body.items() if name not in left_out}
        return self._outgoing(
            call.path, kept, dump_object(sent_body), model if isinstance(model, str) else None
        )

    def health(self, call: Call) -> Health:  # noqa: ARG002 -- as every target
        """What the process knows about this origin and key."""
        return health_of(self.name, origin_text(self._base), self._key.identity())

    def unfit(self, call: Call) -> str | None:
        """A call whose model or prompt only the gateway knows cannot be put to a provider."""
        if self._models and not is_object(call.body):
            return "its model stands in a body that is not JSON, and cannot be translated"
        return unfit_elsewhere(call)

    def _named(self, model: str) -> str:
        name: str = self._models.get(model, model.removeprefix(f"{self.name}/"))
        return name


def _mapping(value: object, name: str, *, of: type) -> dict[str, Any]:
    if value is None:
        return {}
    entries = dict(cast("Mapping[object, object]", value)) if isinstance(value, Mapping) else {None: None}
    if not all(isinstance(key, str) and isinstance(held, of) for key, held in entries.items()):
        raise ConfigError(f"{name} must be a mapping from strings to {of.__name__}s.")
    return cast("dict[str, Any]", entries)


def is_object(body: bytes | None) -> bool:
    """Whether *body* is there and looks like a JSON object; multipart does not."""
    return body is not None and body.lstrip()[:1] == b"{"


def unfit_elsewhere(call: Call) -> str | None:
    """Why *call* can be served by a gateway only; ``None`` if a provider could."""
    if not is_object(call.body):
        return None
    body = parse_object(call.body)
    if not isinstance(body.get("model"), str):
        return "it names no model; the gateway chooses one"
    found = [body, *(body[name] for name in CONTAINERS if isinstance(body.get(name), dict))]
    found += [{} if call.params is None else call.params.params]
    if any(_is_stored_prompt(params.get("prompt")) for params in found):
        return "its prompt is stored at the gateway"
    return None


def _is_stored_prompt(prompt: object) -> bool:
    return isinstance(prompt, Mapping) and "prompt_id" in prompt


def stripped(path: str, body: bytes) -> bytes | None:
    """*body* without the gateway's parameters; ``None`` if it holds none.

    ``metadata`` on a chat call is the gateway's too, unless the call is stored: OpenAI refuses it otherwise.
    """
    from ._params import FIELDS  # few calls leave the gateway

    parsed = parse_object(body)
    ours = parsed.keys() & FIELDS - _SHARED
    if path == "/chat/completions" and "metadata" in parsed and not parsed.get("store"):
        ours.add("metadata")
    if not ours:
        return None
    return dump_object({name: value for name, value in parsed.items() if name not in ours})


def origin_text(url: str) -> str:
    """Scheme, host and port of *url*, in one form."""
    scheme, host, port = origin_of(url)
    return f"{scheme}://{host}:{port}"


def gateway_base(base_url: str | None) -> str:
    """The base URL in its one form: no slash at the end, a path at least ``/api``."""
    source = "base_url"
    if base_url is None:
        source = next((name for name in _URL_VARIABLES if os.environ.get(name)), source)
        base_url = os.environ.get(source, HOSTED)
    base = checked_base(base_url, source=source)
    return base if urlsplit(base).path else base + "/api"


def host_header(base: str) -> tuple[bytes, bytes]:
    """The header ``Host`` for requests below *base*."""
    return b"Host", urlsplit(base).netloc.encode()


def checked_base(base_url: str, *, source: str = "base_url") -> str:
    """*base_url* without a slash at the end.

    Raises:
        ConfigError: if it is not an absolute http(s) URL, or has a user, a query, a fragment or ``..`` in it.
    """
    wrong = _what_is_wrong_with(base_url)
    if wrong:
        raise ConfigError(f"{source} {wrong}; expected something like {HOSTED!r}.")
    return base_url.rstrip("/")


def _what_is_wrong_with(url: object) -> str | None:
    if not isinstance(url, str):
        return f"is of type {type(url).__name__}, not a string"
    try:
        scheme, host, port = origin_of(url)
    except ValueError:
        return "has a port or host that cannot be read"
    parts = urlsplit(url)
    checks = {
        "is not an absolute http or https URL": scheme not in {"http", "https"} or not host,
        "has port 0, which nothing listens on": port == 0,
        "holds a user name or password, which would end up in logs": parts.username is not None,
        "has a query or a fragment, which calls could not be appended to": bool(
            parts.query or parts.fragment
        ),
        "holds '..', white space or non-ASCII characters": (
            ".." in parts.path or not url.isascii() or any(ch.isspace() for ch in url)
        ),
    }
    return next((message for message, is_so in checks.items() if is_so), None)


def _beta_header(flags: Iterable[str]) -> bytes | None:
    flags = (flags,) if isinstance(flags, str) else tuple(flags)
    for flag in flags:
        header_value(flag, what="a beta flag")
        if flag not in BETA_FLAGS:
            known = ", ".join(sorted(BETA_FLAGS))
            warn(f"Beta flag {flag!r} is not among those the gateway documents: {known}.")
    return ",".join(flags).encode() or None


def _renamed(body: bytes | None, deployment: Deployment | None) -> bytes | None:
    # Multipart bodies keep the deployment's name: the route header alone pins the provider there.
    if deployment is None or deployment.model is None or body is None:
        return body
    return (
        body
        if string_field(body, "model") == deployment.model
        else with_string(body, "model", deployment.model)
    )


def _query(call: Call, deployment: Deployment | None) -> str:
    if not call.query:
        return ""
    fields = call.query.decode("latin-1").split("&")
    if deployment is not None:  # the version of Azure's interface, not of the gateway's
        fields = [field for field in fields if not field.startswith("api-version=")]
    query = "&".join(field for field in fields if field)
    return f"?{query}" if query else ""


def _check_sendable(headers: Raw) -> None:
    for name, value in headers:
        if b"\n" in value or b"\r" in value or b"\0" in value:
            shown = name.decode("latin-1")
            raise ParamsError(
                f"The header {shown!r} holds a line break or a NUL character, so it cannot be sent.",
                param=shown,
            )


def _has(headers: Raw, name: bytes) -> bool:
    return any(key.lower() == name for key, _ in headers)


def _credential(call: Call, deployment: Deployment | None) -> Mapping[str, Any] | None:
    if deployment is None:
        scheme, _, bearer = (call.header(b"authorization") or "").partition(" ")
        return {"api_key": bearer} if bearer and scheme.lower() == "bearer" else None
    key = call.header(b"api-key")
    if not key:
        raise ConfigError(
            "forward_credentials=True cannot forward a Microsoft Entra ID token: credential_override takes an "
            "Azure api_key. Build the client with api_key=..., or store the credential in the gateway's settings."
        )
    version = {"api_version": deployment.api_version} if deployment.api_version else {}
    return {"api_key": key, "api_base": deployment.api_base, **version}
