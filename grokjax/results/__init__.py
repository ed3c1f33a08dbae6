"""Opened sweeps and their labelled datasets."""

from grokjax.results.dataset import (
    at_end,
    key_frequencies,
    key_text,
    marked_frequencies,
    stand_out,
)
from grokjax.storage.datasets import load, save

__all__ = [
    "at_end",
    "key_frequencies",
    "key_text",
    "load",
    "marked_frequencies",
    "save",
    "stand_out",
]
