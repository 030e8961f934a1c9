"""The page of every setting, written from the dataclasses and the docstrings of their fields.

Invariant: nothing about a setting is written twice; `python -m configs.reference > docs/config.md` makes the page anew.
"""

import ast
import dataclasses
import inspect
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from configs.run import Config

HEAD = """# Every setting

`videoseeker COMMAND config.yaml key=value …` takes a YAML file that states what differs from these defaults, then
dotted overrides; `--dry-run` prints the result. An unknown key is an error that names the nearest one, and settings
that do not go together are refused before anything starts ([configs/rules.py](../configs/rules.py)).

Brackets in a meaning name the source of a default or a formula; *the paper* is arXiv 2605.16079. This page is written
by `python -m configs.reference > docs/config.md`.
"""
CHOICES = re.compile(r"Literal\[([^\]]*)\]")
NAME = re.compile(r"\b[A-Z]\w+")


@dataclass(frozen=True)
class Setting:
    """One field of the config: its type as annotated, or its values where it is one of several, and its docstring."""

    name: str
    type: str
    meaning: str


def settings_of(kind: type) -> list[Setting]:
    """The fields of a dataclass that are no sections of their own, in their order."""
    [tree] = ast.parse(inspect.getsource(kind)).body
    assert isinstance(tree, ast.ClassDef)
    types: dict[str, str] = {}
    meanings: dict[str, str] = defaultdict(str)
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            spelt = NAME.sub(partial(_spelt_out, inspect.getmodule(kind)), ast.unparse(node.annotation))
            types[node.target.id] = CHOICES.sub(lambda found: found[1].replace(", ", " | ").replace("'", ""), spelt)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and types:
            meanings[[*types][-1]] = " ".join(str(node.value.value).split())
    sections = {field.name for field in dataclasses.fields(kind) if dataclasses.is_dataclass(field.type)}
    return [Setting(name, annotated, meanings[name]) for name, annotated in types.items() if name not in sections]


def _spelt_out(module: object, name: re.Match[str]) -> str:
    """The values that a name of some values stands for; any other name as it is."""
    named = getattr(module, name[0], None)
    return " | ".join(get_args(named)) if get_origin(named) is Literal else name[0]


def sections() -> dict[type, list[str]]:
    """Each dataclass of the config, and the keys under which it stands, `""` for the root."""
    found: dict[type, list[str]] = defaultdict(list)

    def visit(kind: type, key: str) -> None:
        found[kind].append(key)
        for field in dataclasses.fields(kind):
            if isinstance(field.type, type) and dataclasses.is_dataclass(field.type):
                visit(field.type, f"{key}.{field.name}".lstrip("."))

    visit(Config, "")
    return dict(found)


def reference() -> str:
    """The page, in Markdown."""
    return "\n".join([HEAD, *(line for kind, keys in sections().items() for line in _section(kind, keys))])


def _section(kind: type, keys: list[str]) -> Iterator[str]:
    file = Path(inspect.getfile(kind)).name
    yield f"## {', '.join(f'`{key}`' for key in keys if key) or 'The run itself'}\n"
    yield f"{' '.join((kind.__doc__ or '').split())} ([configs/{file}](../configs/{file}))\n"
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    for setting in settings_of(kind):
        cells = f"`{setting.name}`", f"`{setting.type}`", _defaults(kind, keys, setting.name), setting.meaning
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""


def _defaults(kind: type, keys: list[str], name: str) -> str:
    """The default, and where a section of the same dataclass has another one."""
    usual = getattr(kind(), name)
    there = {key: attrgetter(f"{key}.{name}".lstrip("."))(Config()) for key in keys}
    odd = [f", in `{key}` `{_yaml(value)}`" for key, value in there.items() if value != usual]
    return "".join([f"`{_yaml(usual)}`", *odd])


def _yaml(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_yaml(item)}' for key, item in value.items())}}}"
    return "''" if value == "" else str(value)


if __name__ == "__main__":
    print(reference(), end="")
