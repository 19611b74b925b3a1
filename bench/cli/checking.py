"""The text of ``check``: one line per check, and how many hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..contract.examine import Finding

_HOLDS, _DOES_NOT_HOLD = 0, 3


def line_of(finding: Finding) -> str:
    """Return the line of one check, and below it the end of the traceback where the author's code broke."""
    line = f"{finding.status:<8} {finding.subject}: {finding.check}"
    if finding.sentence:
        line += f": {finding.sentence}"
    return "\n".join([line, *(f"         | {text}" for text in finding.trace)])


@dataclass
class Tally:
    """Counts findings.

    Attributes:
        counts: status -> how many.
    """

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, finding: Finding) -> None:
        """Count one."""
        self.counts[finding.status] += 1

    def line(self) -> str:
        """Return the last line."""
        return f"{self.counts['ok']} hold, {self.counts['FAILED']} do not, {self.counts['refused']} refused"

    @property
    def exit_code(self) -> int:
        """Return 3 if something does not hold."""
        return _DOES_NOT_HOLD if self.counts["FAILED"] else _HOLDS
