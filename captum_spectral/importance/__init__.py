"""I-ASIDE: the spectral importance of a whole model over a data set."""

from captum_spectral.importance.classes import ClassTable, class_table
from captum_spectral.importance.interactions import MeanInteractions
from captum_spectral.importance.intervals import Estimate
from captum_spectral.importance.metric import SpectralImportance
from captum_spectral.importance.moments import Records
from captum_spectral.importance.result import ImportanceResult
from captum_spectral.importance.score_metric import SpectralScore
from captum_spectral.importance.scores import signed_spectral_score, spectral_score

__all__ = [
    "ClassTable",
    "Estimate",
    "ImportanceResult",
    "MeanInteractions",
    "Records",
    "SpectralImportance",
    "SpectralScore",
    "class_table",
    "signed_spectral_score",
    "spectral_score",
]
