"""Whose a module is: the suite's, a library's, or that of the author of a plugin.

A plugin lies where its author put it: in a file of its own, in an installed package, or in the suite's folder of methods
among the suite's own. The audit searches what is the author's, and its verdict must not depend on the place. So what is
the suite's own in a plugin folder is told by its full name, never by its place: a file dropped there is its author's.
"""

from __future__ import annotations

import functools
import site
import sys
import sysconfig
from pathlib import Path

HOST = "bench"

#: Folders of the host in which other authors' files may lie.
_PLUGIN_FOLDERS = ("bench.methods.", "bench.datasets.", "bench.decoders.")

#: The suite's parts that methods and data sets share. What is not here is searched, the suite's own plugins included.
SHARED_PARTS = frozenset(
    [
        "bench.methods._outer_loop",
        "bench.methods._product",
        "bench.methods._unroll",
        "bench.methods._unroll.choose",
        "bench.methods._unroll.compiled",
        "bench.methods._unroll.eager",
        "bench.methods._unroll.generic",
        "bench.methods._unroll.graphs",
        "bench.methods._unroll.inner",
        "bench.methods._unroll.outer",
        "bench.methods._unroll.plain",
        "bench.methods._unroll.sweep",
        "bench.methods.forms._class_order",
        "bench.methods.forms._poster_size",
        "bench.methods.prerequisites._clip",
        "bench.datasets._torchvision",
    ]
)


def is_of_a_library(name: str) -> bool:
    """Tell whether a module of this name belongs to the suite, to Python, or to what every decoder is made of."""
    root = name.partition(".")[0]
    ours = root == HOST and (name in SHARED_PARTS or not name.startswith(_PLUGIN_FOLDERS))
    return ours or root in ("torch", "numpy", "builtins", "abc", "typing") or root in sys.stdlib_module_names


@functools.cache
def installed_in() -> tuple[Path, ...]:
    """Return the folders into which packages are installed."""
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), site.getusersitepackages(), *site.getsitepackages()}
    return tuple(sorted(Path(folder).resolve() for folder in folders))
