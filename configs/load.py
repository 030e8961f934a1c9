"""Reading a config: a YAML file over the dataclass defaults, then `key=value` overrides.

Invariant: a key that no dataclass declares never passes; the error names the nearest key that exists.
"""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from configs.run import Config


class ConfigError(ValueError):
    """A config that cannot be used, said in one sentence."""


def load_config(path: str | Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """The typed config of a YAML file (None: the defaults alone), with dotted `key=value` overrides. Raises
    ConfigError: no such file, invalid YAML, an unknown key, or a value of the wrong type."""
    merged = defaults = OmegaConf.structured(Config)
    known = list(_dotted_keys(OmegaConf.to_container(defaults)))
    layers = []
    if path is not None:
        try:
            layers.append((str(path), OmegaConf.load(path)))
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such config file") from None
        except Exception as error:
            raise ConfigError(f"{path}: not valid YAML ({_first_line(error)})") from error
    for override in overrides:
        if "=" not in override:
            raise ConfigError(f"override '{override}' is not of the form key=value")
    layers.append(("command line", OmegaConf.from_dotlist(list(overrides))))
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
    return cast(Config, OmegaConf.to_object(merged))


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
