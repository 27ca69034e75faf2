"""What the computer is: processor, GPU, memory and disk, as far as the system tells."""

import os
import platform
import shutil
from pathlib import Path
from typing import Any

CGROUP = Path("/sys/fs/cgroup")  # of containers: what they may use


def describe_machine() -> dict[str, Any]:
    """CPU and GPU models and what they run on, for the context of figures."""
    import torch

    return {
        "cpu": cpu_model(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def cpu_model() -> str:
    return _proc("cpuinfo").get("model name") or platform.processor() or "unknown"


def available_cpus() -> int:
    """Cores that this process may use, as far as the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota() -> float | None:
    """Cores' worth of time that a container gets; None where there is no limit."""
    words = _text(CGROUP / "cpu.max").split()  # "200000 100000": microseconds in a period
    if len(words) == 2 and words[0].isdigit():
        return int(words[0]) / int(words[1])
    quota, period = (_text(CGROUP / "cpu" / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def memory_bytes() -> dict[str, int | None]:
    """`total`, `available` now, and `limit` of a container; None where the system does not tell."""
    kilobytes = {name: int(value.split()[0]) for name, value in _proc("meminfo").items() if value.split()[0].isdigit()}
    total, available = (kilobytes.get(name) for name in ("MemTotal", "MemAvailable"))
    found = (_text(CGROUP / name).strip() for name in ("memory.max", "memory/memory.limit_in_bytes"))
    limits = [int(text) for text in found if text.isdigit()]
    limit = min(limits, default=None)
    return {
        "total": None if total is None else 1024 * total,
        "available": None if available is None else 1024 * available,
        "limit": limit if limit is not None and (total is None or limit < 1024 * total) else None,  # more is none
    }


def free_bytes(place: Path) -> int:
    """On the disk where a file or folder lies, or would lie."""
    return shutil.disk_usage(existing(place)).free


def existing(place: Path) -> Path:
    """The place, or the nearest folder above it that exists."""
    absolute = place.absolute()
    return next(each for each in (absolute, *absolute.parents) if each.exists())


def _proc(name: str) -> dict[str, str]:
    """The first value of each key of a file in /proc; none where there is no such file."""
    lines = [line.partition(":") for line in _text(Path("/proc") / name).splitlines()]
    return {key.strip(): value.strip() for key, _, value in reversed(lines)}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
