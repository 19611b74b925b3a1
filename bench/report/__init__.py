"""Records in, files out: leaderboard, tables and plots. Nothing here trains, and nothing here needs torch."""

from __future__ import annotations

from .render import render

__all__ = ["render"]
