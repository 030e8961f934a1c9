"""Code of your own that a setting names as `module:name`."""

import importlib
from typing import Any

from configs.load import ConfigError


def own_code(key: str, name: str) -> Any:
    """What `name` stands for, imported by whichever process asks. Raises ConfigError, which names the setting `key`,
    where it is not of that form or cannot be imported."""
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise ConfigError(f"{key}: '{name}' is not of the form module:name")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever code of others does as it is imported
        raise ConfigError(f"{key}: '{name}' cannot be imported ({str(error) or type(error).__name__})") from None
