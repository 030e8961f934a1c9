"""Open answers as closed vocabulary: two answers say the same if their normal forms are the same string.

Case, articles, connecting words and punctuation do not count. Numbers compare as numbers, whether written or spelled
("1,200", "twelve hundred", ".5", "first"). A symbol that carries meaning (`%`, `C++`, the `/` of 3/4) and everything
else does count.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

_UNITS = (  # noqa: SIM905
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()  # noqa: SIM905
_SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000}
_NUMBERS = {word: value for value, word in enumerate(_UNITS)} | {word: 10 * i for i, word in enumerate(_TENS, 2)}
_ORDINALS = {"first": 1, "second": 2, "third": 3, "fifth": 5, "eighth": 8, "ninth": 9, "twelfth": 12}
_ORDINALS |= {f"{word}th": _NUMBERS[word] for word in _UNITS if _NUMBERS[word] not in _ORDINALS.values()}
_ORDINALS |= {f"{word[:-1]}ieth": _NUMBERS[word] for word in _TENS}
_SUFFIXES = {1: "st", 2: "nd", 3: "rd"}
_NUMBER_WORD = rf"(?:{'|'.join(sorted([*_NUMBERS, *_SCALES, *_ORDINALS], key=len, reverse=True))})"
_SPELLED = re.compile(rf"\b{_NUMBER_WORD}(?:(?:[\s-]+|(?<=hundred)\s+and\s+|(?<=thousand)\s+and\s+){_NUMBER_WORD})*\b")
_DROPPED = {"and", "then"}
_ARTICLE = re.compile(r"\b(?:an?|the)\s+(?=\w\w)")
_SPELLINGS = {"gray": "grey", "color": "colour", "center": "centre", "percent": "%", "degrees": "°", "degree": "°"}
_NUMBER = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|(?<![\w.])\.[0-9]+")
_WORD = re.compile(
    rf"[0-9]+(?:st|nd|rd|th)\b|{_NUMBER.pattern}|[^\W\d_]+[+#]+(?!\w)|[^\W\d_]+|[^\W_]"
    r"|[%°€£¥]|\$(?=[0-9])|(?<=[0-9])\s*[/:+*\u00d7=<>^]\s*(?=[0-9])"
)
_MINUS = re.compile(r"(?<![^\s(])-(?=\.?[0-9])")
_MATH = re.compile(r"\$([^$]*)\$")
_TYPOGRAPHY = str.maketrans({"\u2019": "'", "\u2013": "-", "\u2014": "-", "\u2212": "-", "\u2044": "/"})


@lru_cache(maxsize=4096)
def normalize(text: str) -> str:
    """The text as closed vocabulary: what is left of two equal answers is the same string."""
    text = _SPELLED.sub(lambda match: " ".join(_in_digits(re.split(r"[\s-]+", match[0]))), typed(text).casefold())
    words = _WORD.findall(_ARTICLE.sub("", _MINUS.sub("minus ", text)))
    kept = [_canonical(word.strip()) for word in words if word not in _DROPPED]
    return " ".join(kept) or text.strip()


def _in_digits(words: Sequence[str]) -> Iterator[str]:
    """The numbers that these number words spell, one after the other: "twenty", "one", "five" is 21 and 5."""
    below: tuple[int, ...] = ()  # the parts of the number under way, each smaller than the one before
    for word in words:
        value = _NUMBERS.get(word, _ORDINALS.get(word, 0))
        if word == "and":
            continue
        if scale := _SCALES.get(word):
            smaller = sum(part for part in below if part < scale) or 1
            below = (*(part for part in below if part > scale), smaller * scale)
            continue
        if below and (value == 0 or below[-1] <= (99 if value >= 10 else 19)):
            yield str(sum(below))
            below = ()
        below = (*below, value)
        if word in _ORDINALS:
            number = sum(below)
            yield f"{number}{'th' if number % 100 in (11, 12, 13) else _SUFFIXES.get(number % 10, 'th')}"
            below = ()
    if below:
        yield str(sum(below))


def typed(text: str) -> str:
    """The text in the characters that a keyboard has."""
    return _MATH.sub(r"\1", unicodedata.normalize("NFKC", text).translate(_TYPOGRAPHY))


def _canonical(word: str) -> str:
    if not _NUMBER.fullmatch(word):
        return _SPELLINGS.get(word, word)
    whole, _, fraction = word.replace(",", "").partition(".")
    fraction = fraction.rstrip("0")
    return (whole.lstrip("0") or "0") + (f".{fraction}" if fraction else "")
