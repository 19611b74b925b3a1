"""What the numbers of a set do not tell, and which options settle it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Question:
    """Something that must be said before a set can be used.

    Attributes:
        option: field of ``Options`` that settles it.
        asks: what is not known, as the end of a sentence: "the pixel space is not known".
        plausible: values that could be true, the likelier first, as they are kept in ``Options``; empty where they cannot be
            listed, such as the order of ten classes.
        example: how the option is typed, where nothing can be listed.
    """

    option: str
    asks: str
    plausible: tuple[Any, ...] = ()
    example: str = ""

    @property
    def flag(self) -> str:
        """The option as it is typed."""
        return f"--{self.option.replace('_', '-')}"

    @property
    def remedy(self) -> str:
        """What to type: one of the plausible values, or the example."""
        return " or ".join(f"{self.flag} {value}" for value in self.plausible) or f"{self.flag} {self.example}"

    def sentence(self) -> str:
        """Return what is not known, and what to type."""
        return f"{self.asks}; say {self.remedy}"
