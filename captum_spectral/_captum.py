"""The one door to Captum's private helpers.

Everything this package takes from below Captum's public surface comes through here, so that a new
release of Captum can break one short file at most. The names have been stable since Captum 0.3; the
contract tests run against the oldest and the newest supported release.
"""

from typing import Any

from captum._utils.common import (
    _format_additional_forward_args as format_additional_forward_args,
)
from captum._utils.common import _format_baseline as format_baseline
from captum._utils.common import _format_output as format_output
from captum._utils.common import _is_tuple as is_tuple
from captum._utils.common import _run_forward as run_forward
from captum._utils.common import _select_targets as select_targets
from captum._utils.progress import NullProgress, progress
from captum._utils.typing import BaselineType, TargetType
from captum.attr._utils.lrp_rules import EpsilonRule
from captum.log import log_usage

__all__ = [
    "BaselineType",
    "EpsilonRule",
    "NullProgress",
    "TargetType",
    "format_additional_forward_args",
    "format_baseline",
    "format_output",
    "is_tuple",
    "log_usage",
    "progress_bar",
    "run_forward",
    "select_targets",
]


def progress_bar(shown: bool, title: str, total: int | None) -> Any:
    """Return a progress bar of Captum's, or one that shows nothing."""
    return progress(desc=title, total=total) if shown else NullProgress()
