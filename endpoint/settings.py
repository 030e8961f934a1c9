"""Whether the settings of an endpoint make sense.

Invariant: an error names the key that the user wrote.
"""

from configs.endpoint import EndpointConfig


def check(config: EndpointConfig, key: str) -> None:
    """Check the settings under a key of the configuration, e.g. `synth.video_model`.

    Raises:
        ValueError: one makes no sense.
    """
    if not config.model:
        raise ValueError(f"{key}.model: is empty; name the model as the server at {key}.base_url has it")
    if not config.base_url.startswith(("http://", "https://")):
        raise ValueError(f"{key}.base_url: '{config.base_url}' does not begin with http:// or https://")
    least = {"concurrency": 1, "retries": 0, "max_tokens": 1, "max_frames": 1, "max_pixels": 1}
    for name, value in least.items():
        if getattr(config, name) < value:
            raise ValueError(f"{key}.{name}: must be at least {value}, not {getattr(config, name)}")
    for name in ("timeout_s", "fps"):
        if not getattr(config, name) > 0:
            raise ValueError(f"{key}.{name}: must be more than 0, not {getattr(config, name)}")
    if config.budget_usd is not None and not (config.usd_per_million_input or config.usd_per_million_output):
        raise ValueError(f"{key}.budget_usd: says nothing while both {key}.usd_per_million_... prices are 0")
