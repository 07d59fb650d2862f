"""Studies of data and models: they can be interrupted, resumed, shared by processes.

Everything here is usable from a script; the command line turns options into these arguments.
"""

from captum_spectral.studies.comparison import (
    ComparedLayer,
    Comparison,
    ComparisonSettings,
    compare,
)
from captum_spectral.studies.explanation import (
    Explanation,
    ExplanationSettings,
    band_integrated_gradients,
    explain,
)
from captum_spectral.studies.importance import ImportanceSettings, ImportanceStudy, StudiedModel
from captum_spectral.studies.processes import Processes
from captum_spectral.studies.robustness import (
    RobustnessStudy,
    StudiedModels,
    StudyModel,
    standard_measurements,
)
from captum_spectral.studies.rounding import (
    Repair,
    RoundedStudy,
    RoundingSettings,
    round_and_repair,
)
from captum_spectral.studies.table import StudyTable
from captum_spectral.studies.weight_change import WeightChange, weight_change

__all__ = [
    "ComparedLayer",
    "Comparison",
    "ComparisonSettings",
    "Explanation",
    "ExplanationSettings",
    "ImportanceSettings",
    "ImportanceStudy",
    "Processes",
    "Repair",
    "RobustnessStudy",
    "RoundedStudy",
    "RoundingSettings",
    "StudiedModel",
    "StudiedModels",
    "StudyModel",
    "StudyTable",
    "WeightChange",
    "band_integrated_gradients",
    "compare",
    "explain",
    "round_and_repair",
    "standard_measurements",
    "weight_change",
]
