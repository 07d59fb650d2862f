"""Rows through the model: made, bounded in number, shown to it, halved where they do not fit."""
