"""What the scripts here share: PyTorch in its best setting on a CPU."""
import ctypes
import glob
import os
import sys


def use_openmp_blas():
    """Starts anew with the OpenMP build of OpenBLAS first: with the pthread build PyTorch is far slower."""
    found = glob.glob("/usr/lib/*/openblas-openmp")
    paths = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    if found and found[0] not in paths:
        os.environ["LD_LIBRARY_PATH"] = ":".join([found[0]] + [p for p in paths if p])
        os.execv(sys.executable, [sys.executable] + sys.argv)


def keep_memory():
    """glibc keeps freed memory instead of giving it back and faulting it in again at every step."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-3, 32 << 20)  # M_MMAP_THRESHOLD, the most it takes
        libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
    except OSError:
        pass
