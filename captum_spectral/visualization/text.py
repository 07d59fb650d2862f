"""Titles for figures of one's own: any text, no wider than its place."""

from captum_spectral.visualization._text import set_title

__all__ = ["set_title"]
