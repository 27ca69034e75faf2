"""`numba.njit` for kernels: no lock held, and compiled code kept on disk until any kernel file changes.

numba takes compiled code for current while the function's own file is unchanged. A kernel is made of several files.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache

_SOURCES = sorted(Path(__file__).parent.glob("*.py"))
_DIGEST = hashlib.sha256(b"".join(source.read_bytes() for source in _SOURCES)).hexdigest()

# sums may be reordered and products fused, which vectorising needs; NaN and infinity keep their meaning
REORDERED = {"contract", "reassoc", "nsz"}


class _KernelCache(FunctionCache):
    """Distinguishes compiled code by the sources of all kernels."""

    def _index_key(self, signature: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(signature, codegen), _DIGEST)


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorator; options as for `numba.njit`."""

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = njit(nogil=True, **options)(function)
        dispatcher._cache = _KernelCache(function)  # noqa: SLF001 - numba offers no other way in
        return dispatcher

    return decorate
