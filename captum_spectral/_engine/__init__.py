"""The coalition engine: which rows share a forward pass, how many, and what if they do not fit."""
