"""Reports of studies: text for people, JSON for programs, figures as the contents of files.

``explanation`` and ``figures`` tell of one photograph, ``importance`` of models over a data set.
"""

from captum_spectral.report import explanation, figures, importance

__all__ = ["explanation", "figures", "importance"]
