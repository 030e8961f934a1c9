"""The synthesis from footage: which model answers what its stages ask."""

from dataclasses import dataclass
from typing import Literal


@dataclass
class EndpointConfig:
    """A model behind any OpenAI-compatible server: vLLM, SGLang, a provider."""

    base_url: str = "http://127.0.0.1:8000/v1"
    """Address of the API, its version included."""
    model: str = ""
    """The model's name, as the server has it."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the key; where it is not set, `EMPTY` is sent, as local servers take it."""
    concurrency: int = 64
    """Requests that one process has out at once."""
    timeout_s: float = 120.0
    """How long the server may be silent within one attempt at a request, seconds."""
    retries: int = 4
    """Further attempts at a request that met a connection error, a silent server, or status 408, 409 or 5xx."""
    busy_wait_s: float = 300.0
    """How long a request waits in all for a server that is busy (status 429, or 503 with `Retry-After`), seconds."""
    max_tokens: int = 2048
    """Longest reply, tokens."""
    max_tokens_as: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the server calls that: OpenAI's reasoning models only know the longer name."""
    schema_limits: bool = True
    """Whether a reply's schema tells how long its texts and lists may be (`maxLength`, `maxItems`), by which vLLM and
    SGLang end a text that a model would not end. False for a server that takes no such words, e.g. Azure OpenAI."""
    temperature: float | None = 0.0
    """Sampling temperature; None leaves it to the server."""
    seed: int = 0
    """Sampling seed, where the server heeds it; another seed asks everything anew."""
    usd_per_million_input: float = 0.0
    """Price of a million prompt tokens, US dollars."""
    usd_per_million_output: float = 0.0
    """Price of a million tokens of replies, US dollars."""
    budget_usd: float | None = None
    """US dollars that all runs on one folder may spend, besides what is then in flight; None sets no limit."""
    video_as: Literal["frames", "video"] = "frames"
    """What a video is sent as: single frames labelled with their times, or the file, as vLLM takes it."""
    fps: float = 1.0
    """Frames a second of a stretch that is sent as frames (paper, section 4.1)."""
    max_frames: int = 64
    """Most frames of one stretch."""
    max_pixels: int = 112896
    """Most pixels of one frame (paper, section 4.1)."""

    def usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        """The price of so many tokens, US dollars."""
        return (prompt_tokens * self.usd_per_million_input + completion_tokens * self.usd_per_million_output) / 1e6
