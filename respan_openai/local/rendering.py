"""From a stored prompt and a request's variables to the body that a provider is sent.

1. A template is scanned once, in linear time. What a variable holds is never scanned again, and nothing is
   evaluated: ``{{ 7*7 }}`` holds no name, so it stays as it is.
2. What a request adds itself (``messages``, ``override_params``, ``patch``) is no template.
3. A prompt that is composed into another becomes plain text first. So does every prompt on Responses, where
   its messages are the ``instructions`` (reference 003:3: "prepend/instructions-style merging").

Where the documents are silent or disagree:

* ``override`` is false unless it is given: reference 003:3 says "turn on".
* ``override_params`` count unless ``override`` is false in so many words. Reference 003:3 wants it to be
  true, and then shows an example without it.
* Null says nothing, and neither do empty ``messages``, ``model`` and ``instructions``: openai-python cannot
  leave the first two out of a call. What says nothing wins over nothing.
* ``prompt.variables`` win over the request's ``variables``, name by name. A composed prompt sees only its
  own.
* A prompt or version that does not exist is 404 with a ``detail``, which the SDK raises as ``NotFoundError``.
  What is wrong in the request itself is 400 and names the parameter.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .._check import shown
from .._core.call import dump_object
from .._core.plain import is_list, is_object
from .contract import detail, invalid
from .prompts import NOT_CONFIG, VARIABLE_NAME


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .contract import ContractError
    from .prompts import PromptVersion, StoredPrompt, Variable

    Object = dict[str, Any]
    Look = Callable[[str], "_Value"]


__all__ = ["DEEPEST", "Rendered", "ids_in", "render", "scan"]


#: Prompts inside each other: a parent and its child (reference 003:3, "Max depth is **2**").
DEEPEST: Final = 2


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt with everything filled in. Values are shared with prompt and request: not to be changed.

    Attributes:
        fields: The body for the provider.
        messages: The prompt's own messages, which ``echo`` adds to the answer as ``prompt_message``.
        version: Number of the version that was taken.
        variables: What the log keeps of the variables, defaults included: values as given, and with a
            composed prompt its text as ``_rendered_result`` (reference 003:3).
    """

    fields: Object = field(repr=False)
    messages: list[Object] = field(repr=False)
    version: int
    variables: Object = field(repr=False)


def ids_in(prompt: Mapping[str, Any], variables: Mapping[str, Any] | None = None) -> set[str]:
    """Ids of all prompts that :func:`render` looks up: the prompt's own, and its children's."""
    values = _values(prompt, variables).values()
    return {prompt["prompt_id"]} | {value["prompt_id"] for value in values if _is_composed(value)}


def render(
    path: str,
    fields: Mapping[str, Any],
    prompt: Mapping[str, Any],
    variables: Mapping[str, Any] | None,
    prompts: Mapping[str, StoredPrompt],
) -> Rendered:
    """Fill in a prompt, and merge it with the request.

    Args:
        path: ``/chat/completions`` or ``/responses``.
        fields: The request's OpenAI fields.
        prompt: The parameter ``prompt``, checked.
        variables: The parameter ``variables``, checked; ``None`` if there is none.
        prompts: At least those of :func:`ids_in`, as far as they exist.

    Raises:
        ContractError: 404 if a prompt or its version does not exist. 400 if a template needs a variable that
            has no value, or a value does not fit its declaration; if prompts are more than ``DEEPEST`` deep,
            or contain themselves; if content that must become text is none; if ``override_params`` or
            ``patch`` hold what is not theirs to set.
    """
    filled = _fill(
        prompt.get("version"), _values(prompt, variables), _Scope((prompt["prompt_id"],), _PLACE, prompts)
    )
    said = {name: value for name, value in fields.items() if _says_something(name, value)}
    merge = _SCHEMAS[prompt.get("schema_version", 1)]
    body = merge(_Parts(_ENDPOINTS[path], said, filled.config, filled.messages, prompt))
    return Rendered(body, filled.messages, filled.number, filled.variables)


def _values(prompt: Mapping[str, Any], variables: Mapping[str, Any] | None = None) -> Object:
    both = {**(variables or {}), **prompt.get("variables", {})}
    return {name: value for name, value in both.items() if value is not None}


def _is_composed(value: object) -> bool:
    return is_object(value) and value["_type"] == "prompt"


def _says_something(name: str, value: object) -> bool:
    return value is not None and (bool(value) or name not in {"instructions", "messages", "model"})


# ---------------------------------------------------------------------------------------------- templates


def scan(template: str) -> Iterator[tuple[str, str | None]]:
    """A template as pairs of literal text and the name of the variable behind it; the last pair has no name.

    Looks at each ``}}`` once, with the nearest ``{{`` before it, so a hostile template takes no longer than
    another.
    """
    start = at = 0
    while (end := template.find("}}", at)) >= 0:
        begin = template.rfind("{{", at, end)
        at = end + 2
        name = template[begin + 2 : end].strip() if begin >= 0 else ""
        if VARIABLE_NAME.fullmatch(name):
            yield template[start:begin], name
            start = at
    yield template[start:], None


def _message(message: Mapping[str, Any], look: Look) -> Object:
    content = message.get("content")
    if isinstance(content, str):
        return {**message, "content": _text(content, look)}
    return {**message, "content": [_part(part, look) for part in content]} if content else {**message}


def _part(part: Object, look: Look) -> Object:
    if part["type"] != "text":
        return part
    match list(scan(part["text"])):
        case [("", str(name)), ("", None)] if look(name).is_image:
            return {"type": "image_url", "image_url": {"url": look(name).text}}
        case _:
            return {**part, "text": _text(part["text"], look)}


def _text(template: str, look: Look) -> str:
    return "".join(text if name is None else text + look(name).text for text, name in scan(template))


# ---------------------------------------------------------------------------------------------- variables

_PLACE: Final = "prompt.variables"

#: What a variable of each type holds. Anything but a string becomes compact JSON in a text.
_HOLDS: Final[Mapping[str, type]] = {"text": object, "image_url": str, "json": object, "prompt": dict}


class _Value(NamedTuple):
    """A variable's value: as text, and as the log keeps it."""

    text: str
    logged: Any
    is_image: bool = False


class _Scope(NamedTuple):
    """Where a template stands: ids from the parent down, the place of its variables, and all prompts."""

    ids: tuple[str, ...]
    place: str
    prompts: Mapping[str, StoredPrompt]

    def place_of(self, name: str) -> str:
        return f"{self.place}.{shown(name)}"

    def inside(self, name: str, child: str) -> _Scope:
        """The scope of the prompt that the variable *name* holds."""
        ids = (*self.ids, child)
        way = " -> ".join(shown(one) for one in ids)
        if child in self.ids:
            raise invalid(
                f"The prompts {way} contain each other; take one out.", self.place_of(name), "prompt_cycle"
            )
        if len(ids) > DEEPEST:
            problem = f"The prompts {way} are more than {DEEPEST} deep; put the last one's text into another."
            raise invalid(problem, self.place_of(name), "prompt_depth")
        return _Scope(ids, f"{self.place_of(name)}.variables", self.prompts)


class _Filled(NamedTuple):
    number: int
    config: Object
    messages: list[Object]
    variables: Object


def _fill(wanted: Any, given: Object, scope: _Scope) -> _Filled:
    number, version = _version(wanted, scope)
    values = {**_defaults(version, scope), **_read(given, version, scope)}
    look = partial(_look, values, scope)
    messages = [_message(message, look) for message in version.messages]
    config = {**version.params, **({"model": version.model} if version.model else {})}
    return _Filled(number, config, messages, {name: value.logged for name, value in values.items()})


def _look(values: Mapping[str, _Value], scope: _Scope, name: str) -> _Value:
    if name not in values:
        place = scope.place_of(name)
        raise invalid(f"The prompt needs a value for `{place}`; pass one.", place, "missing_variable")
    return values[name]


def _version(wanted: Any, scope: _Scope) -> tuple[int, PromptVersion]:
    called = f"prompt '{shown(scope.ids[-1])}'"
    stored = scope.prompts.get(scope.ids[-1])
    if stored is None:
        raise detail(
            404, f"There is no {called}. Check the prompt_id, and whether the gateway was given that prompt."
        )
    number = stored.number(wanted)
    if number is None:
        problem = "no deployed version" if wanted is None else f"no version {shown(str(wanted))}"
        raise detail(404, f"The {called} has {problem}. Pass a version that exists, or deploy one.")
    return number, stored.versions[number]


def _defaults(version: PromptVersion, scope: _Scope) -> dict[str, _Value]:
    declared = {name: version.declared(name) for name in version.variables}
    return {
        name: _value(name, variable["default"], variable.get("type", "text"), scope)
        for name, variable in declared.items()
        if "default" in variable
    }


def _read(given: Object, version: PromptVersion, scope: _Scope) -> dict[str, _Value]:
    return {name: _typed(name, raw, version.declared(name), scope) for name, raw in given.items()}


def _typed(name: str, raw: Any, declared: Variable, scope: _Scope) -> _Value:
    kind = raw["_type"] if is_object(raw) else declared.get("type", "text")
    wanted = declared.get("type", kind)
    if kind != wanted:
        raise _misfit(name, wanted, scope)
    if _is_composed(raw):
        return _composed(raw, scope.inside(name, raw["prompt_id"]))
    value = _value(name, raw["value"] if is_object(raw) else raw, kind, scope)
    return value._replace(logged=raw)


def _value(name: str, content: Any, kind: str, scope: _Scope) -> _Value:
    value = _Value(_as_text(content), content, kind == "image_url")
    if not isinstance(content, _HOLDS[kind]):
        raise _misfit(name, kind, scope)
    return value


def _as_text(content: Any) -> str:
    return content if isinstance(content, str) else dump_object(content).decode()


def _misfit(name: str, kind: str, scope: _Scope) -> ContractError:
    place = scope.place_of(name)
    return invalid(f"`{place}` must be of the type that the prompt declares for it: {kind}.", place)


def _composed(raw: Object, scope: _Scope) -> _Value:
    child = _fill(raw.get("version"), _values(raw), scope)
    text = _flattened(child.messages, scope.place.removesuffix(".variables"))
    return _Value(text, {**raw, "_rendered_result": text})


# ---------------------------------------------------------------------------------------------- plain text

#: Fields of a message that say something and are no text.
_NOT_TEXT: Final = frozenset({"audio", "function_call", "tool_calls"})


def _flattened(messages: Sequence[Object], param: str) -> str:
    """All texts, with blank lines between them; an image is its URL, and roles are lost."""
    texts = [text for message in messages for text in _texts(message)]
    if None in texts:
        problem = (
            "A prompt becomes plain text here, and this one has other content: audio, files or tool calls."
        )
        raise invalid(f"{problem} Use another prompt, or this one by itself on chat completions.", param)
    return "\n\n".join(text for text in texts if text)


def _texts(message: Object) -> list[str | None]:
    content = message.get("content")
    if not _NOT_TEXT.isdisjoint(message):
        return [None]
    if is_list(content):
        return [_text_of(part) for part in content]
    return [content if isinstance(content, str) else None]


def _text_of(part: object) -> str | None:
    match part:
        case {"type": "text", "text": str(text)} | {"type": "image_url", "image_url": {"url": str(text)}}:
            return text
        case _:
            return None


# ---------------------------------------------------------------------------------------------- endpoints


class _Endpoint(NamedTuple):
    """What differs between the endpoints.

    Attributes:
        slot: The field that a prompt's messages go into.
        said: Messages as that field's value.
        joined: A prompt's value of that field with the request's behind it.
        named: Parameters of chat completions as this endpoint spells them.
        nested: Fields that hold several parameters of chat completions, and so merge inside.
    """

    slot: str
    said: Callable[[list[Object]], Any]
    joined: Callable[[Any, Any], Any]
    named: Callable[[Mapping[str, Any]], Object]
    nested: frozenset[str] = frozenset()

    def laid(self, under: Object, over: Object) -> Object:
        """*over* laid over *under*; what means the same as a field of *over* goes with it."""
        hidden = _RIVALS if not _RIVALS.isdisjoint(over) else frozenset[str]()
        merged = {name: value for name, value in under.items() if name not in hidden} | over
        for name in self.nested & under.keys() & over.keys():
            if is_object(under[name]) and is_object(over[name]):
                merged[name] = {**under[name], **over[name]}
        return merged


#: Two names of one parameter; OpenAI answers 400 to a request that has both.
_RIVALS: Final = frozenset({"max_tokens", "max_completion_tokens"})

#: What Responses spells differently: its field, and the key inside
#: (openai/types/responses/response_create_params.py).
_RENAMED: Final[Mapping[str, tuple[str, str | None]]] = {
    "max_tokens": ("max_output_tokens", None),
    "max_completion_tokens": ("max_output_tokens", None),
    "response_format": ("text", "format"),
    "verbosity": ("text", "verbosity"),
    "reasoning_effort": ("reasoning", "effort"),
}

#: What chat completions wrap, ``{"type": "function", "function": {...}}``, and Responses do not.
_WRAPPED: Final = frozenset({"response_format", "tool_choice", "tools"})


def _named_for_responses(params: Mapping[str, Any]) -> Object:
    named: Object = {}
    for name, value in params.items():
        outer, inner = _RENAMED.get(name, (name, None))
        bare = _unwrapped(value) if name in _WRAPPED else value
        named = _ENDPOINTS["/responses"].laid(named, {outer: {inner: bare} if inner else bare})
    return named


def _unwrapped(value: Any) -> Any:
    if is_list(value):
        return [_unwrapped(one) for one in value]
    match value:
        case {"type": str(kind)} if is_object(value.get(kind)):
            return {"type": kind, **value[kind]}
        case _:
            return value


def _as_instructions(messages: list[Object]) -> str:
    return _flattened(messages, "prompt")


def _with_messages(first: list[Object], second: Any) -> list[Object]:
    return [*first, *_messages(second, "messages")]


def _with_instructions(first: str, second: Any) -> str:
    if not isinstance(second, str | None):
        raise invalid("`instructions` must be a string: the prompt's text comes before it.", "instructions")
    return "\n\n".join(filter(None, (first, second)))


def _messages(value: Any, param: str) -> list[Object]:
    if value is None:
        return []
    if not is_list(value) or not all(is_object(message) for message in value):
        raise invalid(f"`{param}` must be a list of messages; the prompt's are joined with them.", param)
    return value


_ENDPOINTS: Final[Mapping[str, _Endpoint]] = {
    "/chat/completions": _Endpoint("messages", list, _with_messages, dict),
    "/responses": _Endpoint(
        slot="instructions",
        said=_as_instructions,
        joined=_with_instructions,
        named=_named_for_responses,
        nested=frozenset({"reasoning", "text"}),
    ),
}


# ---------------------------------------------------------------------------------------------- merging


class _Parts(NamedTuple):
    """What is merged: the request's fields that say something, and the prompt's parameters and messages."""

    endpoint: _Endpoint
    request: Object
    config: Object
    messages: list[Object]
    prompt: Mapping[str, Any]


def _by_override(parts: _Parts) -> Object:
    """Schema 1: ``override`` says whose fields win; ``override_params`` win over both (reference 003:3)."""
    endpoint = parts.endpoint
    own = {**endpoint.named(parts.config), endpoint.slot: endpoint.said(parts.messages)}
    layers = (parts.request, own) if parts.prompt.get("override") else (own, parts.request)
    return endpoint.laid(endpoint.laid(*layers), _overrides(parts))


def _overrides(parts: _Parts) -> Object:
    if parts.prompt.get("override") is False:
        return {}
    place = "prompt.override_params"
    params = _settable(parts.prompt.get("override_params", {}), place)
    new = _messages(params.pop("messages", None), f"{place}.messages")
    return {**parts.endpoint.named(params), **(_overridden(parts, new) if new else {})}


def _overridden(parts: _Parts, new: list[Object]) -> Object:
    mode = parts.prompt.get("override_config", {}).get("messages_override_mode")
    kept = parts.messages if mode == "append" else []
    return {parts.endpoint.slot: parts.endpoint.said([*kept, *new])}


def _by_prompt(parts: _Parts) -> Object:
    """Schema 2: the prompt wins and comes first, and ``patch`` is laid over that (reference 003:3)."""
    endpoint = parts.endpoint
    first = endpoint.said(parts.messages)
    own = {
        **endpoint.named(parts.config),
        endpoint.slot: endpoint.joined(first, parts.request.get(endpoint.slot)),
    }
    patch = _settable(parts.prompt.get("patch", {}), "prompt.patch", "messages", "input")
    return endpoint.laid(endpoint.laid(parts.request, own), endpoint.named(patch))


def _settable(params: Mapping[str, Any], place: str, *refused: str) -> Object:
    for name in params:
        if name in NOT_CONFIG or name in refused:
            raise invalid(
                f"`{place}` must not hold `{shown(name)}`; pass it with the request.", f"{place}.{name}"
            )
    return {**params}


_SCHEMAS: Final[Mapping[int, Callable[[_Parts], Object]]] = {1: _by_override, 2: _by_prompt}
