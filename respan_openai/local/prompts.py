"""Stored prompts: what they hold, their plain JSON form, and the registry that reads them.

1. A prompt is data: chat messages with ``{{name}}`` in their text, and settings. Nothing in it is ever
   evaluated.
2. Whoever writes a prompt hears of a mistake when it is loaded, not when the first caller needs it.
3. A prompt settles what a model is asked. How the answer travels, who pays and what is logged stay with the
   request (``NOT_CONFIG``), for a provider must not see the gateway's own parameters.

The JSON form, which a file, a store and ``StoredPrompt.from_json`` share::

    {
      "id": "greeting",
      "deployed": 1,
      "versions": {
        "1": {
          "model": "gpt-4o-mini",
          "messages": [{"role": "system", "content": "Greet {{name}} in a {{tone}} tone."}],
          "params": {"temperature": 0.2},
          "variables": {"name": "text", "tone": {"type": "text", "default": "friendly"}}
        }
      }
    }
"""

# Annotations here are evaluated at import on purpose: a TypedDict does not see ``Required`` in a string.

import json
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Required, Self, TypeAlias, cast

from typing_extensions import TypedDict

from .._check import OPEN, Checker, Place, compile_hint, fail, kind_of, obeys, one_line, shown
from .._params import FIELDS
from ..exceptions import ConfigError, ParamsError


__all__ = [
    "MOST_BYTES",
    "NOT_CONFIG",
    "VARIABLE_NAME",
    "PromptVersion",
    "Prompts",
    "Source",
    "StoredPrompt",
    "Variable",
    "VariableType",
]


#: Most bytes of a prompt's file.
MOST_BYTES: Final = 1 << 20

#: Fields that a prompt's config never sets: how the answer travels, and Respan's parameters, with the
#: exception of names that are also fields of OpenAI (``echo``, ``metadata``) or of Perplexity on Responses.
NOT_CONFIG: Final = (FIELDS | {"stream", "stream_options"}) - {
    "echo", "language_preference", "max_steps", "metadata", "preset", "skills",
}  # fmt: skip

#: What can stand between ``{{`` and ``}}``.
VARIABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")

VariableType: TypeAlias = Literal["text", "image_url", "json", "prompt"]
"""How a variable's plain value is read; a value that says its ``_type`` must agree."""


class Variable(TypedDict, total=False):
    """What a version says about one of its variables; all of it is optional."""

    type: VariableType
    """How a plain value is read. Without it, a plain value is text, and any ``_type`` is welcome."""
    default: object
    """Stands in where a request has no value. A prompt has none: a request must name what is composed."""


# ---------------------------------------------------------------------------------------------- checks


def _has_text(content: Any, place: Place) -> None:
    parts = () if isinstance(content, str) else content
    for index, part in enumerate(parts):
        if part["type"] == "text" and "text" not in part:
            raise fail((place, index), "is a text part and lacks `text`; add it.")


def _is_not_empty(messages: Sequence[Any], place: Place) -> None:
    if not messages:
        raise fail(place, "is empty; a prompt needs at least one message.")


def _is_config(params: Mapping[str, Any], place: Place) -> None:
    for name in params:
        if name in _ELSEWHERE:
            raise fail((place, name), _ELSEWHERE[name])
        if name in NOT_CONFIG:
            raise fail((place, name), "is not a prompt's to set: it belongs to the request. Leave it out.")


#: What is no setting, and where it goes instead.
_ELSEWHERE: Final = {
    "input": "belongs to the request; what a prompt says goes into `messages`.",
    "instructions": "is what `messages` become on Responses; put the text there.",
    "messages": "is not one of the params; put it beside them, into the version.",
    "model": "is not one of the params; put it beside them, into the version.",
}


def _is_variable_name(name: str, place: Place) -> None:
    if not VARIABLE_NAME.fullmatch(name):
        raise fail(
            place,
            "cannot stand in a template: a name is a letter or `_`, then letters, digits, `_`, `.` or `-`.",
        )


def _has_fitting_default(variable: Mapping[str, Any], place: Place) -> None:
    kind, default = variable.get("type"), variable.get("default")
    if default is not None and kind == "prompt":
        raise fail((place, "default"), "cannot be a prompt; only a request can name one. Leave it out.")
    if default is not None and kind == "image_url" and not isinstance(default, str):
        raise fail((place, "default"), "must be a URL, because the variable is an image.")


_Name: TypeAlias = Annotated[str, one_line(empty=False)]


class _Part(TypedDict, total=False):
    type: Required[_Name]
    text: str


class _Message(TypedDict, total=False):
    role: Required[Literal["system", "developer", "user", "assistant", "tool", "function"]]
    content: Annotated[str | Sequence[Annotated[_Part, OPEN]], obeys(_has_text)]


class _Version(TypedDict, total=False):
    messages: Required[Annotated[Sequence[Annotated[_Message, OPEN]], obeys(_is_not_empty)]]
    model: _Name
    params: Annotated[Mapping[str, object], obeys(_is_config)]
    variables: Mapping[
        Annotated[str, obeys(_is_variable_name)],
        VariableType | Annotated[Variable, obeys(_has_fitting_default)],
    ]


class _Head(TypedDict, total=False):
    id: _Name
    deployed: int


class _Prompt(_Head, total=False):
    versions: Required[Mapping[str, _Version]]


@cache
def _shape(hint: Any) -> Checker:
    return compile_hint(hint)


def _settled(hint: Any, value: object, where: str, place: Place) -> Any:
    """A checked copy of *value*; later changes do not reach it. *place* begins the paths in messages."""
    if kind_of(value) is not dict:
        raise ConfigError(f"{where} must be an object (a dict); got {type(value).__name__}.")
    try:
        return _shape(hint)(value, place)
    except ParamsError as exc:
        raise ConfigError(f"{where}: {exc}") from None


# ---------------------------------------------------------------------------------------------- values


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptVersion:
    """One wording of a prompt, with its settings. Not to be changed in place.

    Attributes:
        messages: Chat messages, at least one. ``{{name}}`` in their text, or in the text parts of a content
            list, is replaced.
        model: The model to ask; ``None`` leaves that to the request.
        params: Any other parameters of OpenAI's chat completions: ``temperature``, ``tools``, ... On
            Responses the ones that are spelled differently there are translated.
        variables: What is known about variables: the type alone, or a :class:`Variable`. Undeclared ones are
            text.

    Raises:
        ConfigError: If a field has the wrong type, a name is nearly a known one, or ``params`` hold what is
            the request's (``NOT_CONFIG``). The message names the place, and never holds a prompt's text.
    """

    messages: Sequence[Mapping[str, Any]] = field(repr=False)
    model: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    variables: Mapping[str, VariableType | Variable] = field(
        default_factory=dict[str, VariableType | Variable], repr=False
    )

    def __post_init__(self) -> None:
        given = {part.name: getattr(self, part.name) for part in fields(self)}
        checked = dict[str, Any](params={}, variables={})
        checked |= _settled(_Version, given, "PromptVersion", "version")
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def declared(self, name: str) -> Variable:
        """What is said about the variable *name*; empty if nothing is."""
        found = self.variables.get(name, {})
        return {"type": found} if isinstance(found, str) else found

    def to_json(self) -> dict[str, Any]:
        """The plain JSON form, as a copy; what is empty is left out."""
        given = {part.name: getattr(self, part.name) for part in fields(self)}
        return deepcopy({name: value for name, value in given.items() if value})


@dataclass(frozen=True, slots=True)
class StoredPrompt:
    """A prompt with its versions. Not to be changed in place.

    Attributes:
        id: What requests call it: ``prompt_id``.
        versions: By number, from 1.
        deployed: Number of the version that requests get which ask for none; ``None`` if there is no such
            version, and such requests are refused.

    Raises:
        ConfigError: If there is no version, a number is not a positive integer, or the deployed version does
            not exist.
    """

    id: str
    versions: Mapping[int, PromptVersion]
    deployed: int | None = None

    def __post_init__(self) -> None:
        _settled(_Head, {"id": self.id or "", "deployed": self.deployed}, "StoredPrompt", "prompt")
        object.__setattr__(self, "versions", dict(_numbered(self.versions, _called(self.id))))
        if self.deployed is not None and self.deployed not in self.versions:
            raise ConfigError(f"{_called(self.id)}: `deployed` must be the number of one of its versions.")

    @property
    def draft(self) -> int | None:
        """The highest number, if it is above the deployed one; ``None`` if the newest version is deployed."""
        newest = max(self.versions, default=0)
        return newest if newest > (self.deployed or 0) else None

    def number(self, wanted: int | Literal["latest"] | None = None) -> int | None:
        """The number of the version that a request means; ``None`` if there is no such version.

        Args:
            wanted: ``None`` is the deployed version; ``"latest"`` the newest draft, and the deployed version
                if there is no draft; a number is that version.
        """
        if wanted == "latest":
            return self.deployed if self.draft is None else self.draft
        found = self.deployed if wanted is None else wanted
        return found if found in self.versions else None

    @classmethod
    def from_json(cls, prompt: object, *, name: str | None = None) -> Self:
        """The prompt whose plain JSON form is *prompt*; later changes to *prompt* do not reach it.

        Args:
            prompt: An object with ``versions``, and optionally ``id`` and ``deployed``; see the module.
            name: The id, where the object has none.

        Raises:
            ConfigError: As ``StoredPrompt`` and ``PromptVersion``; if there is no id; if a key is unknown.
        """
        where = "The prompt" if name is None else _called(name)
        checked = _settled(_Prompt, prompt, where, "prompt")
        versions = {
            _as_number(key, where): PromptVersion(**kept) for key, kept in checked["versions"].items()
        }
        found = checked.get("id", name)
        if found is None:
            raise ConfigError(f"{where} lacks `id`, by which requests would name it; add it.")
        return cls(found, versions, checked.get("deployed"))

    def to_json(self) -> dict[str, Any]:
        """The plain JSON form, as a copy."""
        versions = {str(number): version.to_json() for number, version in self.versions.items()}
        deployed = {} if self.deployed is None else {"deployed": self.deployed}
        return {"id": self.id, **deployed, "versions": versions}


def _called(name: object) -> str:
    return f"Prompt '{shown(str(name))}'"


def _numbered(versions: Any, where: str) -> Mapping[int, PromptVersion]:
    if not isinstance(versions, Mapping) or not versions:
        raise ConfigError(
            f"{where}: `versions` must be a mapping from numbers to versions, with at least one."
        )
    numbered = cast("Mapping[object, object]", versions)
    if not all(_is_number(key) and isinstance(kept, PromptVersion) for key, kept in numbered.items()):
        raise ConfigError(f"{where}: `versions` must map integers from 1 to PromptVersion values.")
    return cast("Mapping[int, PromptVersion]", numbered)


def _is_number(key: object) -> bool:
    return type(key) is int and key > 0


def _as_number(key: str, where: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,8}", key):
        raise ConfigError(f"{where}: `versions.{shown(key)}` must be a number from 1, without leading zeros.")
    return int(key)


# ---------------------------------------------------------------------------------------------- the registry

Source: TypeAlias = (
    Mapping[str, StoredPrompt | Mapping[str, Any]] | Iterable[StoredPrompt] | str | os.PathLike[str]
)
"""What prompts are read from; see :class:`Prompts`."""


class Prompts(Mapping[str, StoredPrompt]):
    """The prompts that a gateway knows, by id.

    Args:
        source: A mapping from ids to prompts, each a ``StoredPrompt`` or its plain JSON form; or
            ``StoredPrompt`` values; or the path of a folder with one prompt in each ``*.json`` and ``*.toml``
            file. A file's prompt has the file's name without its ending as its id, unless it says ``id``.
            Other files are left alone, and so are folders inside; YAML is refused, because somebody would
            miss it.

    Raises:
        ConfigError: If a prompt is wrong, an id comes twice, or a file cannot be read, is larger than
            ``MOST_BYTES`` or is a link that leads out of the folder. The message names the file and the
            field.
    """

    def __init__(self, source: Source) -> None:
        # An iterator could be read only once, and there is reload().
        self._source: Any = list(source) if isinstance(source, Iterator) else source
        self._prompts: dict[str, StoredPrompt] = {}
        self.reload()

    def __repr__(self) -> str:
        return f"<Prompts({len(self)})>"

    def __getitem__(self, prompt_id: str) -> StoredPrompt:
        return self._prompts[prompt_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._prompts)

    def __len__(self) -> int:
        return len(self._prompts)

    def reload(self) -> None:
        """Read the source again; nothing else does. Who renders meanwhile sees all old prompts or all new
        ones.

        Raises:
            ConfigError: As on construction; the old prompts stay.
        """
        found: dict[str, StoredPrompt] = {}
        for where, prompt in _entries(self._source):
            if prompt.id in found:
                raise ConfigError(
                    f"{where}: {_called(prompt.id)} is there already; an id names one prompt only."
                )
            found[prompt.id] = prompt
        self._prompts = found


def _entries(source: Any) -> Iterator[tuple[str, StoredPrompt]]:
    read = next((read for kinds, read in _SOURCES if isinstance(source, kinds)), None)
    if read is None:
        raise ConfigError(
            "Prompts(...) takes a folder's path, a mapping from ids to prompts, or a list of StoredPrompt "
            f"values; got {type(source).__name__}."
        )
    return read(source)


def _in_list(source: Iterable[object]) -> Iterator[tuple[str, StoredPrompt]]:
    for prompt in source:
        if not isinstance(prompt, StoredPrompt):
            raise ConfigError(f"Prompts([...]) takes StoredPrompt values; got {type(prompt).__name__}.")
        yield "Prompts([...])", prompt


def _in_mapping(source: Mapping[Any, Any]) -> Iterator[tuple[str, StoredPrompt]]:
    for name, value in source.items():
        prompt = value if isinstance(value, StoredPrompt) else StoredPrompt.from_json(value, name=name)
        if prompt.id != name:
            raise ConfigError(
                f"{_called(prompt.id)} stands under another id, '{shown(name)}'; use one of them."
            )
        yield "Prompts({...})", prompt


def _in_folder(source: str | os.PathLike[str]) -> Iterator[tuple[str, StoredPrompt]]:
    folder = Path(source)
    if not folder.is_dir():
        raise ConfigError(
            f"{folder} is no folder; Prompts(...) takes the path of one, with a prompt in each file."
        )
    for path in sorted(folder.iterdir()):
        if path.suffix in _YAML:
            raise ConfigError(
                f"{path}: YAML is not read, for its values change type unasked; use TOML or JSON."
            )
        if path.suffix in _PARSERS:
            yield str(path), _in_file(path)


def _in_file(path: Path) -> StoredPrompt:
    try:
        return StoredPrompt.from_json(_parsed(path), name=path.stem)
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc}") from None


def _parsed(path: Path) -> object:
    text = _bytes(path)
    try:
        return _PARSERS[path.suffix](text.decode())
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"cannot be read as {path.suffix[1:].upper()}, in UTF-8: {exc}.") from None


def _bytes(path: Path) -> bytes:
    try:
        real = path.resolve(strict=True)
        if not real.is_file() or not real.is_relative_to(path.parent.resolve()):
            raise ConfigError("is no file in that folder: links are followed only inside it. Copy the file.")
        with real.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
    except (OSError, RuntimeError) as exc:  # RuntimeError: links that run in a circle, before Python 3.13
        raise ConfigError(f"cannot be read ({type(exc).__name__}).") from None
    if len(text) > MOST_BYTES:
        raise ConfigError(f"has more than {MOST_BYTES} bytes, and a prompt that long is a mistake.")
    return text


_PARSERS: Final[Mapping[str, Callable[[str], object]]] = {".json": json.loads, ".toml": tomllib.loads}
_YAML: Final = frozenset({".yaml", ".yml"})

#: The first row that fits speaks; a string and a mapping are iterable too.
_SOURCES: Final[tuple[tuple[Any, Callable[[Any], Iterator[tuple[str, StoredPrompt]]]], ...]] = (
    ((str, os.PathLike), _in_folder),
    (Mapping, _in_mapping),
    (Iterable, _in_list),
)
