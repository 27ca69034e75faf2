"""What this machine's processor can do, asked once."""

import llvmlite.binding as llvm
from numba import config


def _features() -> dict[str, bool]:
    if config.CPU_NAME:  # NUMBA_CPU_NAME: code is wanted for another processor
        return {}
    try:
        return dict(llvm.get_host_cpu_features())
    except RuntimeError:  # LLVM cannot tell on this machine: nothing is taken for granted
        return {}


_FEATURES = _features()

HAS_VECTORS = all(_FEATURES.get(name, False) for name in ("avx2", "fma"))  # what `vector.py` is written for
HAS_AVX512 = HAS_VECTORS and _FEATURES.get("avx512f", False)
HAS_VNNI = HAS_AVX512 and _FEATURES.get("avx512vnni", False)
HAS_BFLOAT16 = HAS_AVX512 and _FEATURES.get("avx512bf16", False)
