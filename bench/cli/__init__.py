"""The command line: arguments -> plan -> execute -> report. With the progress display, the only place that prints."""

from .commands import main as main
