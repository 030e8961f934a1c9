"""Reading a config: a YAML file over the dataclass defaults, then `key=value` overrides.

Invariants:
- A key that no dataclass declares never passes; the error names the nearest key that exists.
- The value of a field of text is the text as it was typed, though YAML reads `2026_11_27`, `007` or `no` otherwise.
"""

import dataclasses
import difflib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_origin

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from configs.run import Config


class ConfigError(ValueError):
    """A config that cannot be used, said in one sentence."""


def load_config(path: str | Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """The typed config of a YAML file (None: the defaults alone), with dotted `key=value` overrides. Raises
    ConfigError: no such file, invalid YAML, an unknown key, or a value of the wrong type."""
    defaults = _defaults()
    merged: Any = defaults
    known = list(_dotted_keys(OmegaConf.to_container(defaults)))
    layers = []
    if path is not None:
        try:
            layers.append((str(path), _read(Path(path))))
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such config file") from None
        except Exception as error:
            raise ConfigError(f"{path}: not valid YAML ({_first_line(error)})") from error
    for override in overrides:
        if "=" not in override:
            raise ConfigError(f"override '{override}' is not of the form key=value")
        try:
            layers.append(("command line", _override(*override.split("=", 1))))
        except (yaml.YAMLError, OmegaConfBaseException) as error:
            raise ConfigError(f"override '{override}' cannot be read ({_first_line(error)})") from None
    for origin, layer in layers:
        for key in _dotted_keys(OmegaConf.to_container(layer)):
            parent = key.rpartition(".")[0]
            # The keys of a mapping are values, such as the kinds of `teacher.hasty`.
            is_value = parent in known and OmegaConf.get_type(OmegaConf.select(defaults, parent)) is dict
            if key not in known and not is_value:
                near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
                raise ConfigError(f"{origin}: unknown key '{key}'; did you mean '{near}'?")
        try:
            merged = OmegaConf.merge(merged, layer)
        except OmegaConfBaseException as error:
            raise ConfigError(f"{origin}: {_first_line(error)} (key '{error.full_key}')") from error
        except TypeError as error:
            keys = ", ".join(_dotted_keys(OmegaConf.to_container(layer)))
            raise ConfigError(f"{origin}: a value is of the wrong kind, below {keys} ({_first_line(error)})") from error
    return cast(Config, OmegaConf.to_object(merged))


_defaults = cache(lambda: OmegaConf.structured(Config))


def to_yaml(config: Config) -> str:
    """The resolved config as YAML, every default included."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _dotted_keys(tree: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield f"{prefix}{key}"
            yield from _dotted_keys(value, f"{prefix}{key}.")


def _read(path: Path) -> Any:
    """A file's settings, those of text as they stand there."""
    text = path.read_text(encoding="utf-8-sig")
    settings, typed = OmegaConf.create(text), OmegaConf.create(yaml.load(text, Loader=yaml.BaseLoader) or {})
    if not isinstance(settings, DictConfig):
        raise ValueError("a list, where there should be keys")
    for key, kind in fields_of(Config):
        if _is_text(kind) and OmegaConf.select(settings, key) is not None:
            OmegaConf.update(settings, key, OmegaConf.select(typed, key))
    return settings


def _override(key: str, value: str) -> Any:
    kind = dict(fields_of(Config)).get(key)
    if not _is_text(kind) or (value in ("", "null") and type(None) in get_args(kind)):
        return OmegaConf.from_dotlist([f"{key}={value}"])
    plain = kind in (str, str | None) and value[:1] not in ("'", '"')
    settings = OmegaConf.create({})
    OmegaConf.update(settings, key, value if plain else yaml.load(value, Loader=yaml.BaseLoader))
    return settings


def _is_text(kind: object) -> bool:
    return kind in (str, str | None, list[str]) or (
        get_origin(kind) is Literal and all(isinstance(choice, str) for choice in get_args(kind))
    )


def fields_of(kind: type, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every key that has a value, or values, with its type."""
    for field in dataclasses.fields(kind):
        yield f"{prefix}{field.name}", field.type
        if isinstance(field.type, type) and dataclasses.is_dataclass(field.type):
            yield from fields_of(field.type, f"{prefix}{field.name}.")
