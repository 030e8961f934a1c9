"""What others published of benchmarks that can be run here, for the table beside one's own. In percent."""

from collections.abc import Mapping

PUBLISHED_RESULTS: Mapping[str, Mapping[str, float]] = {
    "V2P-Bench": {
        "GPT-4o": 65.4,
        "Gemini-2.5-Pro": 69.8,
        "Qwen3-VL-4B": 59.2,
        "Qwen3-VL-8B": 60.8,
        "Qwen3-VL-8B with tools, untrained": 59.9,
        "VideoSeeker-4B": 70.6,
        "VideoSeeker-8B": 74.5,
        "Qwen2.5-VL-7B, by VLMEvalKit": 46.3,
        "Qwen2.5-VL-7B, by the benchmark's authors": 48.1,
    },
    "Video-MME": {"Qwen3-VL-8B": 67.4, "Qwen3-VL-8B with tools, untrained": 58.3, "VideoSeeker-8B": 68.1},
    "LongVideoBench": {"Qwen3-VL-8B": 64.6, "Qwen3-VL-8B with tools, untrained": 42.9, "VideoSeeker-8B": 66.5},
    "VideoSIAH-Eval": {"Qwen3-VL-8B": 39.4, "Qwen3-VL-8B with tools, untrained": 11.7, "VideoSeeker-8B": 46.5},
}
"""By benchmark and model. VideoSeeker's paper has all but the last two of V2P-Bench; its "LongVT" is VideoSIAH-Eval."""
