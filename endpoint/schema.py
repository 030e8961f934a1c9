"""How long the texts of a reply may be, and what of that a server is told.

Invariant: a reply is held against the limits wherever they are told or not; guided decoding that knows them ends a text
which the model would not end by itself.
"""

from typing import Any

PHRASE_CHARS = 300
"""Longest phrase of a reply, such as a tag or a reason, characters."""
QUESTION_CHARS = 1500
"""Longest question or option of a reply, characters; the longest questions of the public data sets have some 600."""
LIMITS = ("maxLength", "maxItems")


def without_limits(schema: Any) -> Any:
    """The schema for a server that takes no limits in it."""
    if isinstance(schema, dict):
        return {key: without_limits(value) for key, value in schema.items() if key not in LIMITS}
    return [without_limits(item) for item in schema] if isinstance(schema, list) else schema
