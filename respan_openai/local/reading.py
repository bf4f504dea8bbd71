"""What a request says: its path, OpenAI's fields, and Respan's parameters out of three carriers.

1. Top-level body fields win over ``respan_params``, and those over the header; ``variables`` alone merge
   inside (reference 000-003, "Merge order"). A carrier's current name wins over its legacy name.
2. What cannot be read is an error, never ignored: the call would run without the customer's limits.
3. The few parameters that are not honoured are refused, never left out silently.

Some names mean two things. ``echo`` at the top level is OpenAI's (reference 003 lists it there). ``prompt``
is OpenAI's on Responses if it has ``id`` and no ``prompt_id``. ``metadata`` is Respan's, and goes to the
provider too if OpenAI would take it: at most 16 pairs of strings and, on chat completions, only with
``store``, because OpenAI answers 400 to ``metadata`` without it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from .._check import shown
from .._core.call import dump_object, with_string
from .._core.plain import is_list, is_object
from .._params import FIELDS, NAMES, check, decode_header
from .._wire import CONTAINERS, HEADER, LEGACY_HEADER, merge
from ..exceptions import ParamsError
from .contract import detail, invalid, unprocessable
from .forms import Form


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Object = dict[str, Any]


__all__ = ["BETA_HEADER", "MODELS", "POSTED", "ROUTE_HEADER", "Asked", "read", "served"]


#: Paths below ``/api`` that are answered by a model, and the field that must be there besides ``model``.
POSTED: Mapping[str, str] = {
    "/chat/completions": "messages",
    "/responses": "input",
    "/embeddings": "input",
    "/audio/speech": "input",
    "/audio/transcriptions": "file",
}
MODELS = "/models"

#: Those that stored prompts are for (reference 000:47, 001:60, 002:34).
_PROMPTED = ("/chat/completions", "/responses")

ROUTE_HEADER = "X-Respan-Route-Provider"
BETA_HEADER = "X-Respan-Beta"

#: Fields of the provider that ``params.NAMES`` has too: OpenAI's flag, and Perplexity's fields on Responses.
_PROVIDERS = frozenset({"echo", "language_preference", "max_steps", "preset", "skills"})

#: What is refused, and why; separated by spaces. Everything else of ``NAMES`` is honoured.
_REFUSED = {
    "no document says what it would do": "weight",
    "the SDKs could not read a stream that is framed differently": "delimiter field_name",
    "it is the provider's own field, and passed on only from the top level of the body": " ".join(
        sorted(_PROVIDERS)
    ),
}

NOT_HONOURED = {name: reason for reason, names in _REFUSED.items() for name in names.split()}

#: ``prompt`` is OpenAI's where forms are taken: a hint for the transcription.
_IN_FORMS = FIELDS - _PROVIDERS - {"prompt"}

_PREFIX = "/api"


@dataclass(frozen=True, slots=True, repr=False)
class Asked:
    """A request, taken apart.

    Attributes:
        path: Below ``/api``.
        route: The provider that the route header names, or ``None``.
        beta: Feature flags of ``X-Respan-Beta``.
        params: Respan's parameters of all carriers, checked.
        fields: OpenAI's fields.
        raw: The body as it came.
        untouched: Whether the body held OpenAI's fields only.
        form: The body, if it is ``multipart/form-data``.
    """

    path: str
    route: str | None
    beta: frozenset[str]
    params: Object
    fields: Object
    raw: bytes
    untouched: bool
    form: Form | None = None

    def __repr__(self) -> str:
        # Frames of a traceback are collected with their locals; parameters and fields hold keys and prompts.
        return f"<Asked {self.path} with {', '.join([*map(shown, self.fields), *map(shown, self.params)])}>"

    @property
    def streams(self) -> bool:
        """Whether the answer is asked for as a stream of events."""
        return self.fields.get("stream") in {True, "true"}

    @property
    def model(self) -> str | None:
        """As asked for, any provider's prefix included; ``None`` if somebody else is to choose."""
        model: str | None = self.fields.get("model")
        return model

    def body_for(self, model: str, fields: Object) -> bytes:
        """The body for a provider that calls the model *model*; what need not change stays byte for byte.

        Raises:
            ContractError: 400 if it holds a number or a string that Python reads, but JSON cannot carry.
        """
        try:
            return self._body_for(model, fields)
        except ValueError:
            raise invalid(
                "The body holds a number or a string that cannot be sent on as JSON.", None
            ) from None

    def _body_for(self, model: str, fields: Object) -> bytes:
        if self.form is not None:
            return self.form.sent(model, FIELDS - self.fields.keys())
        if not self.untouched or fields is not self.fields:
            return dump_object({**fields, "model": model})
        return self.raw if fields.get("model") == model else with_string(self.raw, "model", model)


def served(method: str, raw_path: bytes) -> str:
    """The path below ``/api`` of a request for this gateway.

    Raises:
        ContractError: 404 for a path that is not served, 405 for a method that its path does not know.
    """
    path = raw_path.partition(b"?")[0].decode("latin-1").removesuffix("/").removeprefix(_PREFIX)
    if path not in POSTED and path != MODELS:
        known = ", ".join(f"POST {_PREFIX}{path}" for path in POSTED)
        raise detail(404, f"Not found. The local gateway serves {known} and GET {_PREFIX}{MODELS}.")
    allowed = "GET" if path == MODELS else "POST"
    if method != allowed:
        raise detail(405, f'Method "{method}" not allowed.', ("Allow", allowed))
    return path


def read(path: str, headers: Mapping[str, str], body: bytes) -> Asked:
    """Take a request apart.

    Raises:
        ContractError: 400 if the body, a carrier or a parameter cannot be read, or if a parameter is not
            honoured by the local gateway; 422 if a field that must be there is missing, or has the wrong
            type.
    """
    form = Form.read(headers.get("content-type", ""), body)
    given = _parsed(body) if form is None else form.given(_IN_FORMS)
    params = _parameters(path, given, headers)
    _refuse_what_is_not_honoured(path, params)
    fields = {
        name: value
        for name, value in given.items()
        if name not in FIELDS or _goes_upstream(path, name, given)
    }
    _check_fields(path, fields, params)
    return Asked(
        path=path,
        route=headers.get(ROUTE_HEADER),
        beta=frozenset(flag.strip() for flag in headers.get(BETA_HEADER, "").split(",") if flag.strip()),
        params=params,
        fields=fields,
        raw=body,
        untouched=len(fields) == len(given),
        form=form,
    )


def _parsed(body: bytes) -> Object:
    try:
        fields = _JSON.decode(body.decode(json.detect_encoding(body), "surrogatepass"))
    except (ValueError, RecursionError):
        raise invalid("The body is not valid JSON, or holds a number beyond 1.8e308.", None) from None
    if not is_object(fields):
        raise invalid("The body must be a JSON object.", None)
    return fields


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity: Python reads them, JSON does not have them


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)  # 1e999: no store keeps it, and a call must leave its row
    return number


# json.loads() would make one for each call, which costs more than reading a short body.
_JSON = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)


def _check_fields(path: str, fields: Object, params: Object) -> None:
    model = fields.get("model")
    # openai-python cannot leave the model out, so who leaves it to a prompt sends an empty one.
    if model is not None and not (isinstance(model, str) and (model or "prompt" in params)):
        raise unprocessable("model must be a non-empty string: the name of the model to call.", "model")
    needed = POSTED[path]
    has_prompt = "prompt" in params or (path == "/responses" and "prompt" in fields)
    if fields.get(needed) is None and not has_prompt:
        raise unprocessable(f"{needed} is required.", needed)
    messages = fields.get("messages")
    if messages is not None and not (is_list(messages) and all(map(is_object, messages))):
        raise unprocessable("messages must be a list of objects.", "messages")
    if not isinstance(fields.get("stream"), bool | str | None):
        raise unprocessable("stream must be true or false.", "stream")


# -- the three carriers


def _parameters(path: str, fields: Object, headers: Mapping[str, str]) -> Object:
    own = {name: fields[name] for name in fields if name in NAMES and _is_respans(path, name, fields)}
    try:
        return merge(*_lower_layers(fields, headers), check(own))
    except ParamsError as exc:
        raise invalid(str(exc), exc.param) from None


def _lower_layers(fields: Object, headers: Mapping[str, str]) -> Iterator[Object]:
    for name in (LEGACY_HEADER, HEADER):
        value = headers.get(name)
        if value is not None:
            yield decode_header(value)
    for name in reversed(CONTAINERS):
        value = fields.get(name)
        if value is not None:
            yield check(value, where=name)


def _is_respans(path: str, name: str, fields: Object) -> bool:
    return name not in _PROVIDERS and not (name == "prompt" and _is_native_prompt(path, fields))


def _goes_upstream(path: str, name: str, fields: Object) -> bool:
    if name in CONTAINERS:
        return False
    if name == "metadata":
        return _is_native_metadata(fields[name]) and (path == "/responses" or fields.get("store") is True)
    return name not in NAMES or not _is_respans(path, name, fields)


def _is_native_prompt(path: str, fields: Object) -> bool:
    prompt = fields["prompt"]
    if path == "/audio/transcriptions":  # OpenAI's hint for the transcription: a text
        return isinstance(prompt, str)
    return path == "/responses" and is_object(prompt) and "id" in prompt and "prompt_id" not in prompt


def _is_native_metadata(value: Any) -> bool:
    # 16 pairs, 64 and 512 characters: openai/types/shared/metadata.py
    return (
        is_object(value)
        and len(value) <= 16
        and all(len(key) <= 64 for key in value)
        and all(isinstance(text, str) and len(text) <= 512 for text in value.values())
    )


def _refuse_what_is_not_honoured(path: str, params: Object) -> None:
    if "prompt" in params and path not in _PROMPTED:
        message = "`prompt` fills in messages or instructions, and this endpoint has none. Leave it out."
        raise invalid(message, "prompt", "not_supported")
    for name in params:
        if name in NOT_HONOURED:
            message = f"The local gateway does not honour `{name}`: {NOT_HONOURED[name]}. Leave it out."
            raise invalid(message, name, "not_supported")
