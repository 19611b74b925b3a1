"""The compiled part of the suite: built once per machine from one C++ file, and never needed.

The library is plain C++ without a header of PyTorch or Python, called through ``ctypes`` with raw addresses, so it
builds in seconds and one build serves every version of both. It lies in the per-user cache folder under a name that
depends on the source, the compiler and the processor. Without a compiler the engines in Python take over.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...files import replacing

SOURCE = Path(__file__).with_name("kernels.cpp")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-ffp-contract=fast", "-fPIC", "-shared")

_P, _I, _Z, _D = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t, ctypes.c_double
_SIGNATURES: dict[str, tuple[object, tuple[object, ...]]] = {
    "ddbench_create": (_P, (_I, _I, _I, _I, _I, _I, _I, ctypes.POINTER(_I), _Z)),
    "ddbench_destroy": (None, (_P,)),
    "ddbench_lanes": (_I, (_I,)),
    "ddbench_sizes": (_I, (_P, ctypes.POINTER(_Z), ctypes.POINTER(_Z))),
    "ddbench_gradient": (_I, (_P, _P, _P, _P, _I, _D, _P, _P, ctypes.POINTER(_D))),
    "ddbench_logits": (_I, (_P, _P, _P, _I, _P)),
    "ddbench_features": (_I, (_P, _P, _P, _I, _P)),
    "ddbench_adam": (None, (_I, _Z, _P, _P, _P, _P, _P, _P, _P, _D, _D, _D, _D)),
    "ddbench_adam_reverse": (_D, (_I, _Z, _P, _P, _P, _P, _P, _P, _P, _D, _D, _D, _D)),
    "ddbench_product": (_I, (_P, _P, _P, _P, _P, _I, _D, _P, _P, _P, _P)),
}


@functools.cache
def load() -> tuple[ctypes.CDLL | None, str]:
    """Return the library, built if need be, and ``""``; or ``None`` and one sentence that says why there is none.

    ``DDBENCH_NATIVE=0`` opts out.
    """
    if os.environ.get("DDBENCH_NATIVE", "1") == "0":
        return None, "the compiled engine is switched off (DDBENCH_NATIVE=0)"
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None or os.name != "posix":
        return None, "there is no C++ compiler (set CXX), so the slower engine in Python is used"
    try:
        library = ctypes.CDLL(str(_built(compiler)))
    except (OSError, subprocess.SubprocessError) as error:
        return None, f"the compiled engine could not be built ({_first_line(error)}), so the slower engine in Python is used"
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library, ""


def cache_folder() -> Path:
    """Return the per-user folder of built libraries (``XDG_CACHE_HOME`` is kept)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ddbench" / "native"


def _built(compiler: str) -> Path:
    """Return the library's path; one process builds it, the others wait."""
    folder = cache_folder()
    target = folder / f"convnet-{_key(compiler)}.so"
    if target.is_file():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / "build.lock"):
        if not target.is_file():
            with replacing(target) as scratch:
                subprocess.run([compiler, *FLAGS, str(SOURCE), "-o", str(scratch)], check=True, capture_output=True, timeout=600)
    return target


def _key(compiler: str) -> str:
    """Return a name for this source, compiler and processor; ``-march=native`` must not travel to another one."""
    version = subprocess.run([compiler, "--version"], check=True, capture_output=True, timeout=60).stdout
    parts = [SOURCE.read_bytes(), " ".join(FLAGS).encode(), version, platform.machine().encode(), _processor()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _processor() -> bytes:
    """Return the processor's model and features where the system tells them."""
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        return platform.processor().encode()
    wanted = (b"model name", b"flags", b"Features", b"CPU part")
    return b"\n".join(sorted({line for line in lines if line.startswith(wanted)}))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl  # not on Windows, where load() has returned before

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)


def _first_line(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        text = (error.stderr or b"").decode(errors="replace").strip()
        return next((line for line in text.splitlines() if "error" in line), "the compiler failed")
    return str(error).splitlines()[0] if str(error) else type(error).__name__
