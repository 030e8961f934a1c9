"""Stage 1: is the question about a specific person, animal or object? Judged from its text alone.

Invariant: only what is surely unfit is rejected; in doubt a question stays (paper, section 3.2, stage 1), since the
next stage looks at the video.
"""

import re

from endpoint.endpoint import Endpoint
from endpoint.schema import object_of
from synth.record import Record, Rejected

UNFIT = {
    "camera work": "how the film was made: camera movement, angle, zoom, cuts, editing, picture quality",
    "scene": "the place, the setting or the background as a whole",
    "overall activity": "what the whole video is about, its topic, purpose, genre, summary or main event",
    "counting": "how many people, animals or objects there are",
    "not visible": "what cannot be seen: sounds, speech, music, feelings, opinions, brands, or text on the screen",
    "light": "the light, the weather, the time of day, or the colour of the background",
}
"""Why a question is unfit, and what that covers."""

PROMPT = f"""You sort questions that people asked about videos. You see a question, never its video.

Keep a question if it is about one specific person, animal or object: what it does, how it looks, where it is or goes, \
what happens to it, or how it relates to another. Sort it out if it is about any of these instead:
{chr(10).join(f"- {name}: {covers}" for name, covers in UNFIT.items())}

If you are not sure, keep it. Judge the question, not the options; they only help to understand it."""

SCHEMA = object_of(is_valid={"type": "boolean"}, reason={"type": "string", "enum": ["", *UNFIT]})

_RULES = {
    "camera work": r"""\b(?:do|does|did|is|was|how|why|when)\s+the\s+camera\b
        | \bcamera(?:'s)?\s+(?:angle|work|movement|motion|position|doing|mov\w*|pan\w*|zoom\w*|focus\w*|technique)\b
        | \b(?:zoom|pan|tilt|dolly|tracking\s+shot|close-?up|slow\s+motion
        |transition|editing|edited|footage|filmed|recorded|frame\s+rate|resolution|perspective|angle|viewpoint)\w*\b
        | \b(?:first|last|opening|final)\s+(?:shot|frame)\b""",
    "counting": r"""\bhow\s+many\b(?!\s+times\b) | \b(?:total\s+)?number\s+of\b(?!\s+times\b) | \bcount\s+the\b""",
    "light": r"""\b(?:lighting|illuminat\w+|brightness|weather|sunny|cloudy|season|(?:day|night)\s*time)\b
        | \btime\s+of\s+(?:the\s+)?(?:day|year)\b
        | \b(?:colou?r|lightness)\s+of\s+the\s+(?:background|sky|screen|walls?|scene)\b
        | \bbackground(?:'s)?\s+colou?r\b""",
    "scene": r"""\b(?:back-?ground|setting|scenery|surroundings|environment|location|landscape)\b
        | \bwhat\s+(?:kind\s+of\s+|type\s+of\s+)?(?:room|place|scene)\b
        | \bwhere\s+(?:does|do|did|is|was)\s+(?:the\s+|this\s+)?(?:video|scene|film|clip|action|event|story)\b""",
    "overall activity": r"""\b(?:describe|summari[sz]e|narrate|explain)\b.*\b(?:video|clip|film|scene|detail)\b
        | \b(?:main|primary|overall|central|general|key)\s+(?:\w+\s+){0,2}(?:activity|topic|subject|theme|purpose|event
        |focus|idea|message|content|goal|action|objective)\b
        | \b(?:what|which)\b.*\b(?:video|clip|film|footage)\b\s*(?:mainly\s+|mostly\s+|primarily\s+)?
        (?:about|show|shows|showing|depict|depicts|feature|features|demonstrate|demonstrates)\b
        | \bwhat(?:'s|\s+is|\s+was)\s+(?:happening|going\s+on|shown|taking\s+place)\b(?!.*\b(?:to|with)\b)
        | \bdescription\s+of\s+(?:the|this)\s+(?:video|clip|film|scene|footage)\b | \b(?:genre|title|synopsis)\b""",
    "not visible": r"""\b(?:sound|music|song|audio|voice|narrator|narration|dialogue|lyrics|noise|melody)\w*\b
        | \bhear[ds]?\b | \b(?:sa(?:y|ys|id)|speak|speaks|spoke|talk(?:ing)?\s+about|mention\w*)\b
        | \b(?:emotion|feeling|feel|mood|atmosphere|attitude|opinion|tone)\w*\b
        | \b(?:brand|logo|slogan|caption|subtitle|watermark)\w*\b
        | \b(?:text|word|words|letters?|title)\b.*\b(?:written|displayed|appear\w*|shown|screen|printed)\b
        | \bwritten\b""",
}
_UNFIT = {name: re.compile(rule, re.VERBOSE | re.IGNORECASE | re.DOTALL) for name, rule in _RULES.items()}


def unfit(question: str) -> str | None:
    """Why a question is surely not about one instance, a key of `UNFIT`; None if it may be."""
    text = question.replace("\u2019", "'")
    return next((name for name, rule in _UNFIT.items() if rule.search(text)), None)


async def filter_by_rules(record: Record) -> Record:
    """Stage 1 without a model: the record as it came, unless its question is about something else than one instance."""
    if reason := unfit(record.question):
        raise Rejected(reason)
    return record


async def filter_by_model(record: Record, endpoint: Endpoint) -> Record:
    """Stage 1 by a language model, likewise."""
    question = "\n".join([record.question, *record.lettered()])
    reply = await endpoint.ask("text", PROMPT, [question], SCHEMA)
    if not reply["is_valid"]:
        raise Rejected(reply["reason"] or "unfit")
    return record
