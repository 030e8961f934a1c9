"""What gives the target away: words of its identity that a rewritten question or option still says.

Invariant: a word of the target's description or tag, in any inflection, spelling or near synonym, that stands in a text
is found. What is found too often only costs a record; what is missed would let a question be answered without its mark.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

from synth.record import PLACE, Target

_STOP = frozenset(
    """a an and any are as at be been being both but by do does each for from had has have having in into is it its main
    most no not of off on one ones or other out over own same some such than that the their them then there these they
    thing things this those through to toward towards under up upon very was were what when where which while who whom
    whose with within without target object instance item subject marked""".split()  # noqa: SIM905
)
_SYNONYMS = (
    "man men guy gentleman male he him his himself boy lad dude father dad son",
    "woman women lady female she her hers herself girl gal mother mum mom daughter",
    "child children kid toddler boy girl baby infant youngster",
    "person people individual human man woman someone somebody",
    "dog puppy pup hound canine",
    "cat kitten kitty feline",
    "car vehicle automobile sedan suv",
    "truck lorry vehicle pickup",
    "bicycle bike cycle",
    "motorcycle motorbike bike",
    "shirt tshirt tee top jersey blouse",
    "jacket coat blazer parka",
    "trousers pants jeans",
    "hat cap beanie helmet",
    "grey gray silver",
    "purple violet",
    "colour color coloured colored",
    "big large huge",
    "small little tiny",
    "player athlete",
    "ball basketball football baseball volleyball",
    "sofa couch",
    "phone cellphone smartphone mobile",
)
_MANY = {"men": "man", "women": "woman", "children": "child", "people": "person", "mice": "mouse", "feet": "foot"}
_PERSONAL = frozenset("he him his himself she her hers herself".split())  # noqa: SIM905
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
# Cyrillic letters that look Latin, and typographic apostrophes and hyphens.
_LOOKALIKES = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0455\u0501\u2019\u2010\u2011\u2013\u2014", "aeopcyxisd'----"
)


def leaked_words(texts: Iterable[str], description: str, tag: str, allowed: str = "") -> list[str]:
    """Words of the texts that give the target away, as they stand there, in their order.

    Args:
        description: the target in the source's words.
        tag: its visual attributes.
        allowed: the phrase that stands for the target now; its words may stand anywhere.
    """
    identity = _known(f"{description} {tag}")
    permitted = {stem for word in _words(allowed) for stem in _stems(word)}
    return [
        word
        for text in texts
        for word in _words(text.replace(PLACE, " "))
        for stems in [_stems(word)]
        if _meet(stems, identity) and not stems & permitted
    ]


def changed_options(before: Sequence[str] | None, after: Sequence[str] | None) -> str | None:
    """What is wrong with rewritten options, in one clause; None if they are the same in number, order and meaning.

    An option may only be unchanged, or have a part of it replaced by `<vp>`.
    """
    if len(before or ()) != len(after or ()):
        return "the number of options changed"
    for old, new in zip(before or (), after or (), strict=True):
        kept = [part.strip() for part in new.split(PLACE)]
        pattern = ".+".join(re.escape(part) for part in kept)
        if not re.fullmatch(rf"\s*{pattern}\s*" if len(kept) > 1 else re.escape(new), old, re.DOTALL):
            return "an option changed"
    return None


def named(target: Target, question: str, options: Sequence[str] | None, allowed: str = "") -> bool:
    """Whether a question or its options tell what the target is.

    What a question asks for is often one of the tag's attributes, which its options must then hold; so options are
    held against the description alone.
    """
    return bool(
        leaked_words([question], target.description, target.tag, allowed)
        or leaked_words(options or (), target.description, "", allowed)
    )


def lost_words(before: str, after: str) -> list[str]:
    """Words of a text that carry its meaning, numbers included, and are in no inflection in what it became."""
    kept = {stem for word in _words(after) for stem in _stems(word)}
    carrying = [word for word in _words(before.replace(PLACE, " ")) if word not in _STOP and word not in _PERSONAL]
    return [word for word in carrying if not _stems(word) & kept]


def _meet(stems: set[str], identity: set[str]) -> bool:
    """Whether a word is one of the identity's, or begins so much like it that it may be: `blonde` and `blond`."""
    return bool(stems & identity) or any(
        len(stem) >= 5 and stem[:5] == known[:5] and SequenceMatcher(None, stem, known).ratio() >= 0.85
        for stem in stems
        for known in identity
    )


def _known(identity: str) -> set[str]:
    """Stems of the identity's words and of what else they are called."""
    stems = {stem for word in _words(identity) if word not in _STOP for stem in _stems(word)}
    for group in _SYNONYMS:
        alike = {stem for word in group.split() for stem in _stems(word)}
        named = {stem for word in group.split() if word not in _PERSONAL for stem in _stems(word)}
        if stems & named:
            stems |= alike
    return stems - _STOP


def _words(text: str) -> list[str]:
    """Words in small letters, hyphenated ones also by their parts."""
    plain = unicodedata.normalize("NFKD", text).casefold().translate(_LOOKALIKES)
    plain = "".join(char for char in plain if not unicodedata.combining(char) and unicodedata.category(char) != "Cf")
    found = []
    for word in _WORD.findall(plain):
        word = re.sub(r"'s?$|'(?=s$)", "", word).removesuffix("'s")
        found += [word.replace("-", ""), *word.split("-")] if "-" in word else [word]
    return found


def _stems(word: str) -> set[str]:
    """What a word may be an inflection of."""
    word = _MANY.get(word, word)
    stems = {word}
    for ending, instead in (("ies", "y"), ("es", ""), ("s", ""), ("ed", ""), ("ed", "e"), ("ing", ""), ("ing", "e")):
        if word.endswith(ending) and len(word) - len(ending) >= 2:
            stem = word.removesuffix(ending) + instead
            stems |= {stem, stem[:-1]} if len(stem) > 3 and stem[-1:] == stem[-2:-1] else {stem}
    if word.endswith("ish") and len(word) > 5:
        stems |= {word.removesuffix("ish"), word.removesuffix("ish")[:-1]}
    return stems
