"""The nearest decision boundary of a classifier: the search, its methods, one idea per file."""

from captum_spectral.boundary.nearest import Search as BoundarySearch
from captum_spectral.boundary.nearest import SearchMethod
from captum_spectral.boundary.result import Boundary, BoundaryNotFoundError
from captum_spectral.boundary.search import find_boundary

__all__ = ["Boundary", "BoundaryNotFoundError", "SearchMethod", "find_boundary"]
