"""Qwen's chat markup around text and frames, in token ids.

Invariant: the special tokens of a segment are the ones this module put there by id; text, whoever wrote it, is encoded
as text, so `<|im_end|>` in a question is five harmless tokens. Otherwise a segment equals, id for id, what the model's
own processor makes of the same string and images.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.episode import EpisodeConfig
from env.transcript import Media, Segment
from env.turn import STOP_STRINGS
from tools.decoding.frame import Content, Frame

_IM_START, _IM_END = "<|im_start|>", "<|im_end|>"
_VISION_START, _IMAGE_PAD, _VISION_END = "<|vision_start|>", "<|image_pad|>", "<|vision_end|>"


@dataclass(frozen=True)
class _Token:
    """A special token, as opposed to text that looks like one."""

    text: str


_Part = str | _Token | Frame
_OPEN_ASSISTANT: tuple[_Part, ...] = (_Token(_IM_START), "assistant\n")


class ChatFormat:
    """Turns chat into token ids and back, for one model folder. Immutable, and safe to share between threads."""

    def __init__(self, tokenizer: Any, image_processor: Any) -> None:
        """Take the Hugging Face fast tokenizer and image processor of the model.

        Raises:
            ValueError: the tokenizer lacks one of Qwen's chat or vision tokens.
        """
        self._encoder = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
        self._encoder.no_padding()
        self._encoder.no_truncation()
        self._encoder.encode_special_tokens = True
        self._specials = self._require_specials()
        size = image_processor.size
        self._pixels = (int(size["shortest_edge"]), int(size["longest_edge"]))
        self.pixel_multiple: int = image_processor.patch_size * image_processor.merge_size
        """Sides of a frame are multiples of this many pixels; one token stands for its square."""
        self.stop_strings: tuple[str, ...] = STOP_STRINGS
        self.eos_id: int = self._specials[_IM_END]
        self.image_token_id: int = self._specials[_IMAGE_PAD]
        pad = tokenizer.pad_token_id
        self.pad_id: int = self.eos_id if pad is None else int(pad)
        added = self._encoder.get_added_tokens_decoder()
        self.banned_ids: tuple[int, ...] = tuple(
            sorted(token_id for token_id, token in added.items() if token.special and token_id != self.eos_id)
        )
        """Special tokens that must never be sampled: all but the end of the turn."""

    @classmethod
    def from_pretrained(cls, model_dir: str | Path) -> "ChatFormat":
        """The chat format of a model folder or hub id."""
        import torch  # noqa: F401  # before transformers, which else finds companions that do not load
        from transformers import AutoImageProcessor, AutoTokenizer

        return cls(AutoTokenizer.from_pretrained(model_dir), AutoImageProcessor.from_pretrained(model_dir))

    def prompt(self, system: str, content: Content) -> Segment:
        """The system turn (left out if empty), the user's turn, and an open assistant turn."""
        system_turn = self._closed_turn("system", (system,)) if system else ()
        return self._assemble((*system_turn, *self._closed_turn("user", content), *_OPEN_ASSISTANT))

    def observation(self, content: Content, after: Sequence[int]) -> Segment:
        """What a tool gave back: closes the assistant's turn, unless the ids so far (`after`) end with `<|im_end|>`,
        and opens the next."""
        closing: tuple[_Part, ...] = () if after and after[-1] == self.eos_id else (_Token(_IM_END),)
        response = ("<tool_response>\n", *content, "\n</tool_response>")
        return self._assemble((*closing, "\n", *self._closed_turn("user", response), *_OPEN_ASSISTANT))

    def encode(self, text: str) -> tuple[int, ...]:
        """Ids of a text, such as a scripted policy's turn; it never holds a special token."""
        return tuple(self._encoder.encode(_encodable(text), add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, special tokens written out."""
        return str(self._encoder.decode(list(ids), skip_special_tokens=False))

    def frame_tokens(self, width: int, height: int) -> int:
        """Placeholder tokens of a frame.

        Raises:
            ValueError: the model's processor would resize such a frame, so that the tokens would not match it.
        """
        least, most = self._pixels
        if width % self.pixel_multiple or height % self.pixel_multiple:
            raise ValueError(f"a frame of {width}x{height} pixels is no multiple of {self.pixel_multiple}")
        if not least <= width * height <= most:
            raise ValueError(f"a frame of {width}x{height} pixels is outside the processor's {least} to {most} pixels")
        return (width // self.pixel_multiple) * (height // self.pixel_multiple)

    def check(self, config: EpisodeConfig) -> None:
        """Check that the frames an episode will show fit this model.

        Raises:
            ValueError: naming the config key that does not fit.
        """
        if config.pixel_multiple != self.pixel_multiple:
            raise ValueError(
                f"episode.pixel_multiple is {config.pixel_multiple}, but the model needs {self.pixel_multiple}"
            )
        least, most = self._pixels
        for key in ("prompt_max_pixels", "tool_max_pixels", "min_pixels"):
            if getattr(config, key) is not None and not least <= getattr(config, key) <= most:
                raise ValueError(
                    f"episode.{key} is {getattr(config, key)}, but the model's processor takes {least} to {most} pixels"
                )

    def bounded(self, config: EpisodeConfig) -> EpisodeConfig:
        """The settings of an episode with this model's own bound where `min_pixels` names none."""
        least = self._pixels[0] if config.min_pixels is None else config.min_pixels
        return dataclasses.replace(config, min_pixels=least)

    def _require_specials(self) -> dict[str, int]:
        names = (_IM_START, _IM_END, _VISION_START, _IMAGE_PAD, _VISION_END)
        ids = {name: self._encoder.token_to_id(name) for name in names}
        missing = [name for name, token_id in ids.items() if token_id is None]
        if missing:
            raise ValueError(f"the tokenizer has no {', '.join(missing)}: it is not one of a Qwen-VL model")
        return ids

    def _closed_turn(self, role: str, content: Content) -> tuple[_Part, ...]:
        return (_Token(_IM_START), f"{role}\n", *content, _Token(_IM_END), "\n")

    def _assemble(self, parts: Iterable[_Part]) -> Segment:
        """Neighbouring texts are encoded as one, since the processor would see them as one."""
        ids: list[int] = []
        media: list[Media] = []
        text = ""
        for part in parts:
            if isinstance(part, str):
                text += part
                continue
            ids += self.encode(text)
            text = ""
            if isinstance(part, _Token):
                ids.append(self._specials[part.text])
                continue
            tokens = self.frame_tokens(part.ref.width, part.ref.height)
            ids.append(self._specials[_VISION_START])
            media.append(Media(part.ref, len(ids), tokens))
            ids += [self.image_token_id] * tokens + [self._specials[_VISION_END]]
        return Segment((*ids, *self.encode(text)), tuple(media))


def _encodable(text: str) -> str:
    """Half of a surrogate pair, which a JSON escape can spell, has no encoding; it becomes a question mark."""
    return text.encode("utf-8", "replace").decode()
