from numba.core.caching import FunctionCache

from audio_vq.kernels.compiling import compiled


def test_kernels_work_where_nothing_can_be_cached(monkeypatch):
    """Installations are read-only in containers and on clusters, and homes may be."""
    monkeypatch.setattr(FunctionCache._impl_class, "_locator_classes", [])

    @compiled()
    def twice(number):
        return 2 * number

    assert twice(21) == 42
