"""Derivatives of singular values beside nested jvp, pymablock and 60-digit differences; radii.

Four tables. Orders 1 to 6 of random matrices against nested ``torch.func.jvp`` of
``torch.linalg.svdvals`` and against pymablock (left out where it is not installed: ``pip install
pymablock``); the mean of two values at falling distances against differences with 60 digits, and
what nested jvp makes of each of them; float32 against float64; and how often the change of a value lies
outside of the radius that ``predict`` gives.
"""
