"""How long the texts of a reply may be, and which of these limits a server is sent.

Invariant: a reply is held against the limits whether the server was sent them or not; guided decoding that knows them
ends a text which the model would not end by itself.
"""

from storage.files import JsonObject

PHRASE_CHARS = 300
"""Longest phrase of a reply, such as a tag or a reason, characters."""
QUESTION_CHARS = 1500
"""Longest question or option of a reply, characters; the longest questions of the public data sets have some 600."""
LIMITS = ("maxLength", "maxItems")


def without_limits(schema: JsonObject) -> JsonObject:
    """The schema for a server that takes no limits in it."""

    def stripped(part: object) -> object:
        if isinstance(part, dict):
            return {key: stripped(value) for key, value in part.items() if key not in LIMITS}
        return [stripped(item) for item in part] if isinstance(part, list) else part

    return {key: stripped(value) for key, value in schema.items()}
