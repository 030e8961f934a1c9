"""Which option a free reply to a multiple choice question chooses, from models that were not taught our form.

Invariant: a pure function of reply and options. What names no option, several, or one letter with another option's
text, chooses none; a letter that is only thought about, ruled out or supposed is not the choice.

An answer in our own form is read by `env.judging.rules.parse_choice`, which this begins with.
"""

import json
import re
from collections.abc import Sequence

from env.judging.rules import judge, parse_choice
from env.judging.vocabulary import normalize, typed
from env.task import Task

_NEAR = 200
"""Characters on each side of a letter in which it may be ruled out."""
_MOST_MENTIONS = 64
"""Letters of a sentence that are looked at, from its end: one that names more is a model that repeats itself."""
_LONGEST = 4000
"""Characters at the end of a reply that are read."""
_SHORT = 25
"""Characters of a sentence that does little but name an option."""
_BARE = re.compile(r"[\s(\"'*]*([A-Za-z])[\s).\"'*]*")
_TOLD = re.compile(
    r"\s*(?:the\s+|my\s+)?(?:best\s+|correct\s+|right\s+|final\s+)?(?:answer|option|choice)\s*(?:is:?|:)\s*"
    r"[(\"'*]*([A-Za-z])[)\"'*]*[\s.]*",
    re.IGNORECASE,
)
"""Most of what models reply is one of these two, which take no more reading."""
_END = re.compile(r"<\|(?:endoftext|im_end|eot_id|end)\|>|</s>|<eos>")
_TOKEN = re.compile(r"<\|[^|>]{1,40}\|>|<unk>|<s>|^\s*(?:ASSISTANT|Assistant)\s*:")
_TAG = re.compile(r"</?(?:p|b|i|em|strong|span|div|br|code|think|thinking)\s*/?>", re.IGNORECASE)
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)
_ANSWER_KEYS = ("answer", "final_answer", "choice", "option", "prediction", "letter", "selected")
_MARKDOWN = re.compile(r"\*\*|__|```\w*|`|^\s*#{1,6}\s*", re.MULTILINE)
_SENTENCES = re.compile(r"(?<=[!?。;])|(?<=[^\s.][.])\s+|(?<=[.])$|\n+")
_LOOKALIKES = str.maketrans("АВСЕ", "ABCE")  # noqa: RUF001 - Cyrillic
_TICKED = re.compile(r"✅|✓|✔|☑|\[x\]|\byes\b|\btrue\b", re.IGNORECASE)
_UNTICKED = re.compile(r"❌|✗|✘|☐|\[ \]|\bno\b|\bfalse\b", re.IGNORECASE)
_LINE_LETTER = re.compile(r"^[\s|*\-\[\]xX]*\(?([A-Z])[).:\s|]")

_LETTER = re.compile(
    r"(?<![A-Za-z0-9'])(?:\(\s*([A-Za-z])\s*\)|([A-Z])(?![A-Za-z0-9'])"
    r"|(?<=option )([a-z])\b|(?<=answer: )([a-z])\b|(?<=choice )([a-z])\b)"
)
_ARTICLE = re.compile(
    r"A\s+(?!(?:is|isn't|was|would|will|could|can|can't|cannot|has|may|might|must|and|or|nor|but|so|because|since|as)"
    r"\b)[a-z]"
)
_SEVERAL = re.compile(
    r"\b[A-Z]\b(?:\s*(?:,|/|&|\+|、|和|或|\band\b|\bor\b|\bto\b|\bund\b|\boder\b|\by\b|\bo\b|\bet\b|\bou\b)\s*)+"
    r"(?:and\s+|or\s+)?\(?\b[A-Z]\b"
)
_PLACES = ("first", "second", "third", "fourth", "fifth")
_BY_PLACE = re.compile(
    rf"(?:the\s+)?({'|'.join(_PLACES)}|last)\s+(?:option|choice|one|answer)(?:\s+is\s+(?:correct|right))?\W*",
    re.IGNORECASE,
)
_CLAIM = re.compile(
    r"answer|correct|final|choose|pick|select|go with|settle|conclude|must be|leaves|hence"
    r"|\bso\b|therefore|thus|###|response|matches|fits|it's|it is|definitely"
    r"|respuesta|opción|resposta|opção|risposta|réponse|antwort|antwoord|svar|odpowied|válasz|cevap|đáp án|jawaban"
    r"|ответ|вариант|الإجابة|उत्तर|คำตอบ|答案|选|正解|答え|정답|sino|sondern|而是",
    re.IGNORECASE,
)
_SUPPOSED = re.compile(
    r"\bif the\b|\bif there\b|would be\b|would point|would have\b|\bmight\b|\bcould be\b|\bmaybe\b|\bone could\b"
    r"|\bexpect\b|argument|let me know|\?\s*$",
    re.IGNORECASE,
)
_UNDECIDED = re.compile(r"\bcan(?:no|')t\b|unable|not able|not enough|unclear|don't know|not sure|hard to say", re.I)
_RULED_OUT_BEFORE = re.compile(
    r"(?:\banything but|\bnot|n't|\bno|\bneither|\bnor|\brather than|\bexcept|\bruling out"
    r"|\bexcludes|\bwithout|\bnicht|\bpas|\bno es|不是)"
    r"(?:\s+(?:be|the|it|either|option|choice|la|das|le))*\s*[\"'(]*$",
    re.IGNORECASE,
)
_ONLY_BUT = re.compile(r"(?:other than|option but|all but|nothing but)\s*$", re.IGNORECASE)
_RULED_OUT_AFTER = re.compile(
    r"^[\"')\s]*(?:is|are|isn't|was|cannot|can't|makes|would|does|gets|has no|kommen|no\b|也?违|も違)?\s*"
    r"(?:not|n't|no\b|wrong|incorrect|false|impossible|excluded|ruled out|out\b|never|isn't|cannot|can't|no sense)",
    re.IGNORECASE,
)


def judge_reply(task: Task, reply: str | None) -> float:
    """R_acc of a whole reply, in which the choice may be told in any words: 1.0 if it is certainly right, else 0.0."""
    if reply is None or task.form != "choice":
        return judge(task, None if reply is None else words_of(reply))
    return float(letter_of(reply, task.options or ()) == task.answer)


def words_of(reply: str) -> str:
    """What a reply to an open question answers: its one `<answer>`, or else all that follows its thoughts."""
    text = _visible(reply)
    inner = {one.strip() for one in _ANSWER.findall(text)}
    return inner.pop() if len(inner) == 1 else text


def letter_of(reply: str, options: Sequence[str]) -> str | None:
    """The letter that a reply names by the exact rules, else the one that it chooses in its own words."""
    return parse_choice(reply, options) or choice_of_reply(reply, options)


def choice_of_reply(reply: str, options: Sequence[str]) -> str | None:
    """The letter of the one option that a reply chooses; None if it chooses none or several."""
    if bare := _BARE.fullmatch(reply) or _TOLD.fullmatch(reply):
        return bare[1].upper() if bare[1].upper() in _letters(options) else None
    text = _visible(reply)
    if inner := _ANSWER.findall(text):
        read = {choice_of_reply(one, options) for one in inner}
        return read.pop() if len(read) == 1 else None
    if (row := _json(text)) is not None:
        return _of_json(row, options)
    text = _plain(text)
    if ticked := _ticked(text, options):
        return ticked
    sentences = _sentences(_masked(_without_list(text, options), options))
    named = None
    if sentences and not _mentions(sentences[-1]) and not _UNDECIDED.search(sentences[-1]):
        named = _by_text(sentences[-1], options)
    letter = _claimed(sentences, options) if len(sentences) > 2 else None
    letter = letter or _direct(text, options)
    if letter is None or _disagrees(letter, sentences, named, options):
        letter = _claimed(sentences, options)
    if letter is None or letter not in _letters(options):
        return named or (_by_text(" ".join(sentences), options) if letter else None)
    return None if _disagrees(letter, sentences, named, options) else letter


def _visible(reply: str) -> str:
    """The reply without what a chat template adds, and without the thoughts before the answer."""
    text = _END.split(typed(reply)[-_LONGEST:])[0]
    text = re.split(r"</think(?:ing)?>", text)[-1]
    return _TOKEN.sub(" ", text).strip()


def _plain(text: str) -> str:
    text = _MARKDOWN.sub("", _TAG.sub(" ", text))
    return re.sub(r"\\(?:boxed|text|textbf|mathrm)\b|[{}]", " ", text).translate(_LOOKALIKES)


def _json(text: str) -> dict[str, object] | None:
    """The JSON object of a reply, if it has the letters of options, or one of the keys of an answer."""
    start, end = text.find("{"), text.rfind("}")
    try:
        row = json.loads(text[start : end + 1]) if 0 <= start < end else None
    except (ValueError, RecursionError):
        return None
    known = isinstance(row, dict) and any(re.fullmatch("[A-Z]", key) or key.lower() in _ANSWER_KEYS for key in row)
    return row if known else None


def _of_json(row: dict[str, object], options: Sequence[str]) -> str | None:
    """What the object says is the answer, or the one letter that it says is true."""
    true = [key for key, value in row.items() if value is True and key in _letters(options)]
    if len(true) == 1:
        return true[0]
    said = [value for key, value in row.items() if key.lower() in _ANSWER_KEYS and isinstance(value, str)]
    letter = parse_choice(said[0], options) if said else None
    texts = {_by_text(value, options) for value in row.values() if isinstance(value, str)} - {None, letter}
    return None if texts else letter


def _without_list(text: str, options: Sequence[str]) -> str:
    """The text without the lines that only repeat the options."""
    lines = text.splitlines()
    listed = [line for line in lines if _LINE_LETTER.match(line)]
    if [_LINE_LETTER.match(line)[1] for line in listed] != _letters(options) or len(options) < 2:  # type: ignore[index]
        return text
    return "\n".join(line for line in lines if line not in listed)


def _sentences(text: str) -> list[str]:
    """The sentences and lines of a text; a letter with its dot belongs to what follows it, as in "B. red"."""
    sentences: list[str] = []
    for part in filter(None, (part.strip() for part in _SENTENCES.split(text) if part)):
        if sentences and re.fullmatch(r"\(?[A-Za-z][.)]", sentences[-1]):
            part = f"{sentences.pop()} {part}"
        sentences.append(part)
    return sentences


def _masked(text: str, options: Sequence[str]) -> str:
    """The text with the capital letters small that belong to an option's own text, such as the B of "Plan B"."""
    for option in sorted(options, key=len, reverse=True):
        if len(option) > 1 and re.search(r"\b[A-Z]\b", option):
            text = text.replace(option, option.lower())
    return text


def _letters(options: Sequence[str]) -> list[str]:
    return [chr(ord("A") + i) for i in range(len(options))]


def _ticked(text: str, options: Sequence[str]) -> str | None:
    """The option of the one line that is ticked, where the options are listed and the others are not."""
    lines = [(match[1], line) for line in text.splitlines() if (match := _LINE_LETTER.match(line))]
    if [letter for letter, _ in lines] != _letters(options):
        return None
    ticked = [letter for letter, line in lines if _TICKED.search(line) and not _UNTICKED.search(line)]
    others = sum(bool(_UNTICKED.search(line)) for _, line in lines)
    return ticked[0] if len(ticked) == 1 and others == len(lines) - 1 else None


def _direct(text: str, options: Sequence[str]) -> str | None:
    letter = parse_choice(text, options)
    if letter is None and (place := re.fullmatch(_BY_PLACE, text.strip())):
        index = -1 if place[1].lower() == "last" else _PLACES.index(place[1].lower())
        return _letters(options)[index] if index < len(options) else None
    if letter is None and (same := re.fullmatch(r"\s*([A-Za-z])(?:\W*\1)+\W*", text)):
        letter = same[1].upper() if same[1].upper() in _letters(options) else None
    return letter


def _mentions(sentence: str) -> list[tuple[str, bool]]:
    """The letters that a sentence names as options, and whether each is ruled out."""
    found = []
    for match in list(_LETTER.finditer(sentence))[-_MOST_MENTIONS:]:
        if _ARTICLE.match(sentence, match.start()):
            continue
        letter = next(filter(None, match.groups())).upper()
        if letter == "I":  # the pronoun; who has nine options may write "option I"
            continue
        before, after = sentence[max(0, match.start() - _NEAR) : match.start()], sentence[match.end() :][:_NEAR]
        out = bool(_RULED_OUT_BEFORE.search(before) or _RULED_OUT_AFTER.match(after))
        found.append((letter, (out or _is_listed_out(before)) and not _ONLY_BUT.search(before)))
    return found


def _is_listed_out(before: str) -> bool:
    """Whether a letter stands in a list that is ruled out: "not A, B"; "neither A nor B"."""
    return bool(re.search(r"\b(?i:not|neither|none of)\s+(?:[A-Z]\b\s*(?:,|nor|or|and)?\s*)+$", before))


def _claimed(sentences: Sequence[str], options: Sequence[str]) -> str | None:
    """The letter that the last sentence claims which claims one."""
    if _contradicts_itself(sentences):
        return None
    for i, sentence in enumerate(reversed(sentences)):
        mentioned = _mentions(sentence)
        cut_off = i == 0 and len(sentences) > 1 and not re.search(r"[.!?。)\]\"A-Z]\W*$|\b[a-z]\W*$", sentence)
        if not mentioned or cut_off or (_SUPPOSED.search(sentence) and not _last_clause(sentence)):
            continue
        kept = {letter for letter, out in mentioned if not out}
        if len(kept) > 1:
            kept = _last_clause(sentence)
        if len(kept) == 1 and (_is_short(sentence) or len(sentences) == 1 or _CLAIM.search(sentence)):
            return kept.pop()
        if len(kept) > 1 or len({letter for letter, _ in mentioned}) == len(options) > 1:
            return None
    return None


def _contradicts_itself(sentences: Sequence[str]) -> bool:
    """Whether all that is said is one short claim after another, of different letters."""
    short = [_mentions(sentence) for sentence in sentences if _is_short(sentence)]
    claimed = {letter for mentioned in short for letter, out in mentioned if not out}
    return len(short) == len(sentences) > 1 and len(claimed) > 1


def _is_short(sentence: str) -> bool:
    return len(sentence.split()) <= 4 and len(sentence) <= _SHORT


def _last_clause(sentence: str) -> set[str]:
    """The letters that the last clause of a sentence names which names some, unless they are one of a list."""
    if _SEVERAL.search(sentence) and not re.search(r"\b(?:if i have|go with|must be|so|therefore)\b", sentence, re.I):
        return {letter for letter, out in _mentions(sentence) if not out}
    for clause in reversed(re.split(r",\s*|\bbut\b|;\s*|\bso\b|:\s", sentence)):
        kept = {letter for letter, out in _mentions(clause) if not out}
        if kept and not _SUPPOSED.search(clause):
            return kept
    return set()


def _by_text(sentence: str, options: Sequence[str]) -> str | None:
    """The letter of the one option whose text stands in a sentence and is not ruled out there."""
    said = f" {normalize(sentence)} "
    texts = {letter: f" {normalize(option)} " for letter, option in zip(_letters(options), options, strict=True)}
    there = {letter: text for letter, text in texts.items() if text.strip() and text in said}
    whole = {a: text for a, text in there.items() if not any(text in b and text != b for b in there.values())}
    if len(whole) != 1:
        return None
    [(letter, text)] = whole.items()
    before = said[: said.index(text)].rstrip()
    return None if re.search(r"\b(?:not|neither|nor|isn ?t|n t|no)$", before) else letter


def _disagrees(letter: str, sentences: Sequence[str], named: str | None, options: Sequence[str]) -> bool:
    """Whether the reply names another option by its text where it names this one by its letter, or at its end."""
    if letter not in _letters(options):
        return False
    for sentence in sentences:
        if letter in {mentioned for mentioned, out in _mentions(sentence) if not out}:
            by_text = _by_text(_LETTER.sub(" ", sentence, count=1), options)
            if by_text not in (None, letter) and normalize(options[ord(letter) - ord("A")]) not in normalize(sentence):
                return True
    return named not in (None, letter) and not _mentions(sentences[-1])
