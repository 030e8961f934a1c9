"""The tiny model for tests of rooms that know nothing of the learner."""

from learner.model.tiny import build_tiny_model

__all__ = ["build_tiny_model"]
