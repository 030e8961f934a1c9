"""What a tool is: a typed function whose signature is its schema, and its check of what a caller gives.

Invariant: a tool sees handles (`video_1`, `frame_1`), never paths; a call that does not fit the signature never runs.
"""

import inspect
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, NamedTuple, get_args, get_origin, get_type_hints

from storage.files import JsonObject
from tools.decoding.frame import Content
from tools.errors import ToolError
from tools.scene import Limits, Scene


@dataclass(frozen=True)
class Tool:
    """A perception tool made of a function `(scene, limits, parameters...) -> Content`. The function's docstring is the
    description; each parameter is `Annotated[kind, "what it is"]` of a kind in `_JSON_TYPES`."""

    function: Callable[..., Content]
    cost: float = 1.0
    """What a call counts for in R_par (paper: each call is one)."""

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def description(self) -> str:
        return inspect.getdoc(self.function) or ""

    def schema(self) -> JsonObject:
        """The tool in OpenAI function form."""
        parameters = self._parameters()
        properties = {}
        for name, parameter in parameters.items():
            properties[name] = {**_JSON_TYPES[parameter.kind], "description": parameter.description}
            if not parameter.required:
                properties[name]["default"] = parameter.default
        schema = {
            "type": "object",
            "properties": properties,
            "required": [name for name, parameter in parameters.items() if parameter.required],
            "additionalProperties": False,
        }
        return {
            "type": "function",
            "function": {"name": self.name, "description": self.description, "parameters": schema},
        }

    def run(self, scene: Scene, limits: Limits, strict: bool = True, /, **arguments: object) -> Content:
        """Check the arguments and carry out the call; where it is not `strict`, numbers may be written as text.

        Raises:
            ToolError: the arguments are not what the tool takes.
            VideoError: the scene's own file cannot be read.
        """
        return self.function(scene, limits, **self._bind(arguments, strict))

    def _bind(self, arguments: JsonObject, strict: bool) -> JsonObject:
        parameters = self._parameters()
        for name in arguments:
            if name not in parameters:
                raise ToolError(f"{self.name} has no argument '{name}'; it takes {listed(parameters)}")
        missing = [name for name, parameter in parameters.items() if parameter.required and name not in arguments]
        if missing:
            raise ToolError(f"{self.name} needs {listed(missing)}; it takes {listed(parameters)}")
        read = arguments if strict else {name: _read(parameters[name].kind, arguments[name]) for name in arguments}
        return {name: _checked(name, parameters[name].kind, value) for name, value in read.items()}

    def _parameters(self) -> "dict[str, _Parameter]":
        """What the caller gives, by name."""
        hints = get_type_hints(self.function, include_extras=True)
        own = list(inspect.signature(self.function).parameters.values())[2:]
        return {p.name: _Parameter(*_annotated(hints[p.name]), p.default) for p in own}


class _Parameter(NamedTuple):
    kind: object
    """One of `_JSON_TYPES`."""
    description: str
    default: object

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty


_JSON_TYPES: dict[object, JsonObject] = {
    float: {"type": "number"},
    str: {"type": "string"},
    list[float]: {"type": "array", "items": {"type": "number"}},
}


def listed(names: Iterable[str]) -> str:
    """`a`, `a and b`, or `a, b and c`."""
    names = list(names)
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _annotated(hint: object) -> tuple[object, str]:
    if get_origin(hint) is not Annotated or get_args(hint)[0] not in _JSON_TYPES:
        raise TypeError(f"a tool's parameter must be Annotated[float, str or list[float], description], not {hint}")
    kind, description = get_args(hint)
    return kind, description


def _checked(name: str, kind: object, value: object) -> str | float | list[float]:
    if kind is str:
        if not isinstance(value, str):
            raise ToolError(f"{name} must be a string, not {shown(value)}")
        return value
    if kind is float:
        return _number(name, value)
    if not isinstance(value, list):
        raise ToolError(f"{name} must be a list of numbers such as [1.5, 2], not {shown(value)}")
    return [_number(f"{name}[{i}]", item) for i, item in enumerate(value)]


def _read(kind: object, value: object) -> object:
    """A number, or list of numbers, out of the text that it is written as; what is none stays as it is."""
    if kind is str:
        return value
    try:
        value = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value
    if kind is float:
        return value
    return [_read(float, item) for item in (value if isinstance(value, list) else [value])]


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ToolError(f"{name} must be a plain number such as 12.5, not {shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ToolError(f"{name} must be a finite number such as 12.5, not {shown(value)}")
    return number


def shown(value: object) -> str:
    """A value as an error message quotes it."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        text = "a number that is far too large"
    return text if len(text) <= 40 else f"{text[:40]}..."
