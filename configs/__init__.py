"""Typed configuration: every default lives in one dataclass field, with its unit and its source."""

from configs.load import ConfigError, load_config, to_yaml
from configs.run import Config

__all__ = ["Config", "ConfigError", "load_config", "to_yaml"]
