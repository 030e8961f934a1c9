"""Every objective and its gradient from the formulas of the papers, trajectory by trajectory and token by token, in
Python's double precision. Nothing here is shared with the code under test."""

import math
from dataclasses import dataclass

from configs.training import GrpoConfig

BOUND = 20.0
"""Log-ratios are held within this; beyond it they have no slope."""


@dataclass(frozen=True)
class Episode:
    """One trajectory: a number for each sampled token, and its advantage."""

    logp: list[float]
    old: list[float]
    engine: list[float]
    ref: list[float]
    entropy: list[float]
    advantage: float


def held(log_ratio: float) -> tuple[float, float]:
    """(log-ratio within the bound, its slope)."""
    if log_ratio > BOUND:
        return BOUND, 0.0
    if log_ratio < -BOUND:
        return -BOUND, 0.0
    return log_ratio, 1.0


def clipped_term(r: float, a: float, config: GrpoConfig) -> tuple[float, float]:
    """min(r A, clip(r) A), bounded below for A < 0 by a dual clip; (value, derivative by r)."""
    low = 1 - config.clip
    high = 1 + (config.clip_high if config.clip_high is not None else config.clip)
    value, slope = r * a, a
    if a > 0 and r > high:
        value, slope = high * a, 0.0
    if a < 0 and r < low:
        value, slope = low * a, 0.0
    if a < 0 and config.dual_clip is not None and value < config.dual_clip * a:
        value, slope = config.dual_clip * a, 0.0
    return value, slope


def token_term(logp: float, old: float, a: float, config: GrpoConfig) -> tuple[float, float]:
    """(surrogate, its derivative by log pi) of a token, for the objectives that are made of tokens."""
    log_r, inside = held(logp - old)
    r = math.exp(log_r)
    if config.surrogate == "clip":
        value, slope = clipped_term(r, a, config)
        return value, slope * r * inside
    if config.surrogate == "reinforce":
        return r * a, r * a * inside
    high = 1 + (config.clip_high if config.clip_high is not None else config.clip)
    weight = max(1 - config.clip, min(high, r))
    return weight * a * logp, weight * a


def kl_term(logp: float, ref: float, estimator: str) -> tuple[float, float]:
    """(estimate, its derivative by log pi)."""
    d, inside = held(logp - ref)
    return {
        "k1": (d, inside),
        "k2": (d * d / 2, d * inside),
        "k3": (math.exp(-d) + d - 1, (1 - math.exp(-d)) * inside),
    }[estimator]


def weights_of(episode: Episode, config: GrpoConfig) -> list[float]:
    """w of each token: none of what is certain, else pi_old / pi_engine within its bounds."""
    return [
        w if entropy >= config.min_entropy else 0.0
        for w, entropy in zip(corrections_of(episode, config), episode.entropy, strict=True)
    ]


def corrections_of(episode: Episode, config: GrpoConfig) -> list[float]:
    """pi_old / pi_engine of each token within its bounds."""
    gaps = [old - engine for old, engine in zip(episode.old, episode.engine, strict=True)]
    if config.correction == "none":
        return [1.0] * len(gaps)
    if config.correction == "sequence":
        gaps = [sum(gaps)] * len(gaps)
    weights = []
    for gap in gaps:
        w = math.exp(held(gap)[0])
        if w > config.correction_max:
            w = config.correction_max if config.correction_beyond == "truncate" else 0.0
        weights.append(0.0 if w < config.correction_min else w)
    return weights


def share_of(length: int, episodes: int, tokens: int, config: GrpoConfig) -> float:
    """Weight of each token of a trajectory of this length in the loss of the whole batch."""
    if config.aggregation == "sequence_mean":
        return 1 / length / episodes
    if config.aggregation == "token_mean":
        return 1 / tokens
    return 1 / config.norm_tokens / episodes


def objective(
    episodes: list[Episode], config: GrpoConfig, with_kl: bool = True
) -> tuple[float, list[float], list[float]]:
    """(loss, [d loss / d log pi of each token], [d loss / d entropy of each token]), each episode's tokens in turn."""
    tokens = sum(len(episode.logp) for episode in episodes)
    total, slopes, entropy_slopes = 0.0, [], []
    for episode in episodes:
        length = len(episode.logp)
        if length == 0:
            continue
        gap = sum(old - engine for old, engine in zip(episode.old, episode.engine, strict=True)) / length
        if config.max_sequence_gap is not None and abs(gap) > config.max_sequence_gap:
            slopes += [0.0] * length
            entropy_slopes += [0.0] * length
            continue
        share = share_of(length, len(episodes), tokens, config)
        weights = weights_of(episode, config)
        if config.surrogate == "gspo":
            log_s, inside = held(sum(p - old for p, old in zip(episode.logp, episode.old, strict=True)) / length)
            s = math.exp(log_s)
            value, by_s = clipped_term(s, episode.advantage, config)
            surrogates = [value] * length
            # Every token's value is a function of s, whose derivative by each log pi is s / length.
            gradients = [by_s * s * inside * sum(weights) / length] * length
        else:
            terms = [
                token_term(p, old, episode.advantage, config) for p, old in zip(episode.logp, episode.old, strict=True)
            ]
            surrogates = [value for value, _ in terms]
            gradients = [w * slope for w, (_, slope) in zip(weights, terms, strict=True)]
        for t in range(length):
            value, slope = weights[t] * surrogates[t], gradients[t]
            if with_kl:
                kl, kl_slope = kl_term(episode.logp[t], episode.ref[t], config.kl_estimator)
                value, slope = value - config.kl_coef * kl, slope - config.kl_coef * kl_slope
            value += config.entropy_coef * episode.entropy[t]
            total += share * value
            slopes.append(-share * slope)
            entropy_slopes.append(-share * config.entropy_coef)
    return -total, slopes, entropy_slopes
