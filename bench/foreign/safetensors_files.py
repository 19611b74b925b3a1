"""``.safetensors``: named tensors behind a header, the safest of all."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from ..errors import BenchError, cut
from ..files import regular
from .contents import Collector, Contents, check_declared


def read_safetensors_file(path: Path) -> Contents:
    """Read all tensors of a file.

    Raises:
        BenchError: it is damaged, or too large.
        OSError: it cannot be opened.
    """
    check_declared(path, regular(path).stat().st_size)
    try:
        tensors = load_file(path)
    except (SafetensorError, ValueError, LookupError, RuntimeError) as error:
        raise BenchError(f"{path} cannot be read as safetensors ({cut(' '.join(str(error).split()), 120)}); get it again") from error
    found = Collector(path)
    found.collect(tensors)
    return found.contents("a safetensors file")
