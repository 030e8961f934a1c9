"""Schemas of replies: how long their texts may be, and which of these limits a server is sent.

Invariant: a reply is held against the limits whether the server was sent them or not; guided decoding that knows them
ends a text which the model would not end by itself.
"""

from storage.files import JsonObject

PHRASE_CHARS = 300
"""Longest phrase of a reply, such as a tag or a reason, characters."""
QUESTION_CHARS = 1500
"""Longest question or option of a reply, characters; the longest questions of the public data sets have some 600."""
LIMITS = ("maxLength", "maxItems")


def object_of(**properties: JsonObject) -> JsonObject:
    """The schema of an object that has these properties, all of them and no others."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def text_of(most_chars: int) -> JsonObject:
    """The schema of a text."""
    return {"type": "string", "maxLength": most_chars}


def texts_of(most_chars: int, most: int) -> JsonObject:
    """The schema of a list of texts."""
    return {"type": "array", "items": text_of(most_chars), "maxItems": most}


def without_limits(schema: JsonObject) -> JsonObject:
    """The schema for a server that takes no limits in it."""

    def stripped(part: object) -> object:
        if isinstance(part, dict):
            return {key: stripped(value) for key, value in part.items() if key not in LIMITS}
        return [stripped(item) for item in part] if isinstance(part, list) else part

    return {key: stripped(value) for key, value in schema.items()}
