"""What the processor can do that compiled code is for: this machine's, or that of NUMBA_CPU_FEATURES."""

from numba.core.registry import cpu_target

_FEATURES = cpu_target.target_context.codegen()._get_host_cpu_features().split(",")  # noqa: SLF001 - as numba has them

HAS_AVX512 = "+avx512f" in _FEATURES
HAS_VNNI = HAS_AVX512 and "+avx512vnni" in _FEATURES
HAS_BFLOAT16 = HAS_AVX512 and "+avx512bf16" in _FEATURES
