"""The nearest decision boundary of a classifier: the search, its methods, one idea per file."""

from captum_spectral.boundary.find_boundary import find_boundary
from captum_spectral.boundary.result import Boundary, BoundaryNotFoundError
from captum_spectral.boundary.search import BoundarySearch, SearchMethod

__all__ = ["Boundary", "BoundaryNotFoundError", "BoundarySearch", "SearchMethod", "find_boundary"]
