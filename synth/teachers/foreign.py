"""A teacher's thoughts in words that the student never met, as those of a teacher of another family are (paper,
Figure 5: a stronger one makes a weaker student).

Invariant: calls and answers stay as they are, and so do numbers and colours, which questions and answers name.
"""

import re

WORDS = {
    "northwest": "NW",
    "north": "N",
    "northeast": "NE",
    "west": "W",
    "center": "mid",
    "east": "E",
    "southwest": "SW",
    "south": "S",
    "southeast": "SE",
    "mark": "highlight",
    "look": "check",
    "closer": "zoom",
    "once": "yet",
    "more": "again",
    "here": "found",
    "not": "nothing",
    "same": "unchanged",
    "gone": "absent",
    "empty": "nobody",
    "home": "rests",
    "leaves": "exits",
    "back": "reappears",
    "turns": "becomes",
    "away": "hidden",
    "aside": "moved",
    "flash": "glow",
    "first": "initially",
    "then": "later",
    "against": "versus",
    "column": "file",
    "row": "rank",
    "so": "thus",
    "is": "was",
    "at": "near",
    "from": "since",
    "to": "until",
    "this": "that",
    "should": "must",
    "be": "have been",
}
"""The family's word and the foreign one."""
_WORD = re.compile(r"[A-Za-z]+")
_THOUGHT = re.compile(r"(?<=<think>).*?(?=</think>)", re.DOTALL)


def in_foreign_words(turn: str) -> str:
    """A turn with its thought in foreign words: `The mark is on red north.` is `The highlight was on red N.`"""
    return _THOUGHT.sub(lambda thought: _WORD.sub(lambda word: _foreign(word[0]), thought[0]), turn)


def _foreign(word: str) -> str:
    other = WORDS.get(word.lower(), word)
    return other[0].upper() + other[1:] if word[0].isupper() else other
