"""Reports of studies: text for people, JSON for programs, figures as the contents of files.

``explanation`` tells of one photograph, ``importance`` of models over a data set, both with
``to_text``, ``to_json`` and ``figure``; ``figures`` holds the drawings of photographs.
``robustness`` tells of a study of many models, ``robustness_figures`` draws it.
"""

from captum_spectral.report import (
    explanation,
    figures,
    importance,
    robustness,
    robustness_figures,
)

__all__ = ["explanation", "figures", "importance", "robustness", "robustness_figures"]
