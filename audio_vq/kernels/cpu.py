"""What the processor can do that compiled code is for: this machine's, or that of NUMBA_CPU_FEATURES."""

from numba.core.registry import cpu_target

_FEATURES = cpu_target.target_context.codegen()._get_host_cpu_features().split(",")  # noqa: SLF001 - as numba has them

FEATURES = {  # by the name that people know
    name: flag in _FEATURES
    for name, flag in (
        ("AVX2", "+avx2"),
        ("AVX-512", "+avx512f"),
        ("VNNI", "+avx512vnni"),
        ("bfloat16", "+avx512bf16"),
        ("AMX", "+amx-tile"),
        ("NEON", "+neon"),
    )
}
HAS_AVX512 = "+avx512f" in _FEATURES
HAS_VNNI = HAS_AVX512 and "+avx512vnni" in _FEATURES
HAS_BFLOAT16 = HAS_AVX512 and "+avx512bf16" in _FEATURES
