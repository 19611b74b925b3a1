"""Settings of the process that make numerics on the CPU faster and change no number."""

from __future__ import annotations

import ctypes
import os
import platform
import sys

# Names and values of glibc's <malloc.h>.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_TOP_PAD = 64 << 20


def tune_allocator() -> bool:
    """Keep freed memory in the process instead of giving every large tensor back to the kernel.

    glibc maps a tensor above 32 MB afresh each time, and the kernel then faults it in page by page, which can cost more
    than the arithmetic on it. Call this where a worker starts, before PyTorch allocates. ``DDBENCH_MALLOC=0`` opts out;
    other systems than Linux with glibc are left alone.

    Returns:
        Whether the settings are in force.
    """
    if os.environ.get("DDBENCH_MALLOC", "1") == "0" or not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    mallopt.restype, mallopt.argtypes = ctypes.c_int, (ctypes.c_int, ctypes.c_int)
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, _TOP_PAD))
    return all([mallopt(name, value) == 1 for name, value in settings])
