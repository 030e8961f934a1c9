"""The texts of a row, whatever its file took them for."""

import math
from collections.abc import Mapping

from env.datasets.rows import BadRow


def texts_of(row: Mapping[str, object], key: str) -> list[str]:
    """The list of texts under a key. Raises BadRow: there is none."""
    texts = row.get(key)
    if not isinstance(texts, list | tuple):
        raise BadRow(f"has no list of '{key}'")
    return [_text(text, key) for text in texts]


def text_of(row: Mapping[str, object], key: str, default: str | None = None) -> str:
    """The text under a key; the default stands in for one that is missing, null, not a number or blank. Raises
    BadRow: neither is there, or it is no text."""
    value = row.get(key)
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        if default is None:
            raise BadRow(f"has no '{key}'")
        return default
    return _text(value, key)


def _text(value: object, key: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadRow(f"its '{key}' is not text")
    try:
        str(value).encode()
    except UnicodeEncodeError:
        raise BadRow(f"its '{key}' is not valid Unicode") from None
    return str(value).replace("\ufeff", "").strip()


def whole_of(row: Mapping[str, object], key: str) -> int | None:
    """The whole number of at least 0 under a key, from a text or a table's float too; None for anything else."""
    number = number_of(row, key)
    return int(number) if number is not None and number >= 0 and number == int(number) else None


def number_of(row: Mapping[str, object], key: str) -> float | None:
    """The finite number under a key, from a text too; None for anything else."""
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
