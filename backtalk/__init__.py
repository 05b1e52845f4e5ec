"""Backtalk: a chat with a small language model that learns from what its users say back."""

__version__ = "0.1.0"
