"""Reports of studies: text for people, JSON for programs, figures and pages.

``explanation`` tells of one photograph, ``importance`` of models over a data set, both with
``to_text``, ``to_json``, ``to_html`` and ``figure``; ``figures`` holds the drawings of photographs.
``comparison`` and ``weight_change`` tell of two sets of weights of one network.
``robustness`` tells of a study of many models, ``robustness_figures`` draws it. What ``to_html``
writes is one file that a browser shows without a network.
"""

from captum_spectral.report import (
    explanation,
    figures,
    importance,
    robustness,
    robustness_figures,
    weight_change,
)

__all__ = [
    "explanation",
    "figures",
    "importance",
    "robustness",
    "robustness_figures",
    "weight_change",
]
