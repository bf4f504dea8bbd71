"""What a request asks of a model, and whether a declared model can do it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from .._core.plain import is_list, is_object


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .settings import Model


__all__ = ["BYTES_PER_TOKEN", "Needs", "lacking", "needs_of"]

#: Of English text, as OpenAI counts (help.openai.com, "What are tokens and how to count them?"); an estimate.
BYTES_PER_TOKEN = 4

# Of parts of a message. No sets, because what stands under "type" need not be hashable.
_IMAGES = ("image_url", "input_image")
_ATTACHED = (*_IMAGES, "input_audio", "file", "input_file")


_TALK = ("messages", "input")
_OUTPUT = ("max_completion_tokens", "max_tokens", "max_output_tokens")


class Needs(NamedTuple):
    """What a model must be able to do.

    Attributes:
        tools: Call tools.
        images: Read images.
        json_schema: Keep to a JSON schema.
        context: Tokens of the request, estimated, and of the longest answer it allows, together.
        output: Tokens of the longest answer that it allows; 0 if it does not say.
    """

    tools: bool
    images: bool
    json_schema: bool
    context: int
    output: int

    @property
    def abilities(self) -> list[str]:
        """Those asked for that a model has or has not: tools, images, JSON schema."""
        return [name for name, (needed, _) in _ABILITIES.items() if needed(self)]


def needs_of(fields: Mapping[str, Any]) -> Needs:
    """What the request with OpenAI's *fields* (chat completions or Responses) asks of a model.

    Tokens are estimated from the bytes of its text. Images, sound and files
    count none: their tokens do not depend on their bytes.
    """
    talk, images = _measured([fields.get(name) for name in _TALK])
    rest, _ = _measured([value for name, value in fields.items() if name not in _TALK])
    output = next((fields[name] for name in _OUTPUT if _is_count(fields.get(name))), 0)
    return Needs(
        tools=bool(fields.get("tools") or fields.get("functions")),
        images=images,
        json_schema=_wants_schema(fields),
        context=-(-(talk + rest) // BYTES_PER_TOKEN) + output,
        output=output,
    )


def lacking(model: Model, needs: Needs) -> list[str]:
    """What *model* cannot do of what is needed, in words; empty if nothing of that is declared."""
    unable = [name for name in needs.abilities if not _ABILITIES[name][1](model)]
    short = [name for name, (wanted, most) in _LIMITS.items() if wanted(needs) > (most(model) or math.inf)]
    return unable + short


_ABILITIES: dict[str, tuple[Callable[[Needs], bool], Callable[[Model], bool]]] = {
    "tools": (lambda needs: needs.tools, lambda model: model.tools),
    "images": (lambda needs: needs.images, lambda model: model.vision),
    "JSON schema": (lambda needs: needs.json_schema, lambda model: model.json_schema),
}

_LIMITS: dict[str, tuple[Callable[[Needs], int], Callable[[Model], int | None]]] = {
    "context": (lambda needs: needs.context, lambda model: model.context),
    "output": (lambda needs: needs.output, lambda model: model.max_output),
}


def _measured(values: list[Any]) -> tuple[int, bool]:
    # Not recursive: how deep a request is nested is up to its sender.
    size, images, left = 0, False, list[Any](values)
    while left:
        value = left.pop()
        if isinstance(value, str):
            size += len(value.encode(errors="surrogatepass"))
        elif is_list(value):
            left += value
        elif is_object(value):
            kind = value.get("type")
            images = images or kind in _IMAGES
            left += () if kind in _ATTACHED else (*value, *value.values())
    return size, images


def _wants_schema(fields: Mapping[str, Any]) -> bool:
    text = fields.get("text")
    formats = fields.get("response_format"), text.get("format") if is_object(text) else None
    return any(is_object(given) and given.get("type") == "json_schema" for given in formats)


def _is_count(value: object) -> bool:
    return type(value) is int and value > 0
