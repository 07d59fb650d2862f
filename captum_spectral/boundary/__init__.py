"""The nearest decision boundary of a classifier: the search, its methods, one idea per file."""

from captum_spectral.boundary.search import (
    Boundary,
    BoundaryNotFoundError,
    SearchMethod,
    find_boundary,
)

__all__ = ["Boundary", "BoundaryNotFoundError", "SearchMethod", "find_boundary"]
