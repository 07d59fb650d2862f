"""Attribution methods that answer when they are asked, and give no futures."""

from __future__ import annotations

__all__ = ["Synchronous"]


class Synchronous:
    """A method without ``attribute_future``, as most of Captum."""

    def attribute_future(self) -> None:
        """Not implemented, as in most of Captum."""
        raise NotImplementedError(f"attribute_future is not implemented for {type(self).__name__}")
