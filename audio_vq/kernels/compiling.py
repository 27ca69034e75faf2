"""`numba.njit` for kernels: no lock held, and compiled code kept on disk until any kernel file changes.

numba takes compiled code for current while the function's own file is unchanged. A kernel is made of several files.
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile

from audio_vq.files import taking_turns

_SOURCES = sorted(Path(__file__).parent.glob("*.py"))
_DIGEST = hashlib.sha256(b"".join(source.read_bytes() for source in _SOURCES)).hexdigest()[:16]

# sums may be reordered and products fused, which vectorising needs; NaN and infinity keep their meaning
REORDERED = {"contract", "reassoc", "nsz"}
# for functions that allocate nothing, and of which many are called per sample: they count no references to arrays
UNCOUNTED: dict[str, Any] = {"_nrt": False}
INLINED: dict[str, Any] = {**UNCOUNTED, "forceinline": True}


class _KernelCache(FunctionCache):
    """Keeps the compiled code of other sources in other files: one that names what is gone could not even be read."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = IndexDataCacheFile(
            cache_path=self._cache_path,
            filename_base=f"{self._impl.filename_base}-{_DIGEST}",
            source_stamp=self._impl.locator.get_source_stamp(),
        )

    def save_overload(self, signature: Any, data: Any) -> None:
        """One process at a time: numba numbers a function's files without a lock, and two at once mix them up."""
        with taking_turns("kernels"):
            super().save_overload(signature, data)


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorator; options as for `numba.njit`. Divided by zero is infinity or NaN."""

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = njit(**{"nogil": True, "error_model": "numpy", **options})(function)
        with suppress(RuntimeError):  # neither beside the sources nor in the user's cache: compiled anew each time
            dispatcher._cache = _KernelCache(function)  # noqa: SLF001 - numba offers no other way in
        return dispatcher

    return decorate
