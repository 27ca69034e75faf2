"""Processor, GPU, memory, disk and network."""

import os
import shutil
import subprocess
import tempfile
from importlib import import_module
from pathlib import Path

from audio_vq.doctor.examination import Finding, Trouble
from audio_vq.machine import available_cpus, cpu_model, cpu_quota, existing, free_bytes, memory_bytes

GIGABYTE = 10**9
LEAST_MEMORY, LEAST_DISK = 2 * GIGABYTE, 2 * GIGABYTE  # bytes; `voices` converts a recording in 0.8 of them
THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
NETWORK_SETTINGS = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "HF_HUB_OFFLINE", "HF_ENDPOINT")
GPU_QUERY = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
NVIDIA = "NVIDIA"


def find_cpu() -> Finding:
    """The model, what of it compiled code makes use of, and how many cores there are to use."""
    from audio_vq.kernels import cpu
    from audio_vq.kernels.weights import FASTEST_FAITHFUL

    cores, quota = available_cpus(), cpu_quota()
    troubles = []
    if not cpu.FEATURES["AVX2"] and not cpu.FEATURES["NEON"]:
        troubles.append(Trouble("the processor has no AVX2", "all works, several times slower than on newer ones"))
    if quota is not None and quota < cores and not any(name in os.environ for name in THREAD_SETTINGS):
        few = max(1, int(quota))
        troubles.append(
            Trouble(
                f"the container gets {quota:g} cores' time, but programs see {cores} cores and start as many threads",
                f"set OMP_NUM_THREADS={few}; for training, train.threads={few}",
            )
        )
    facts = {
        "model": cpu_model(),
        "cores": cores,
        "container_cores": quota,
        "features": [name for name, there in cpu.FEATURES.items() if there],
        "decoder_weights": FASTEST_FAITHFUL,
        "decoder_training": "bfloat16" if cpu.HAS_BFLOAT16 else "float32",
    }
    return Finding(facts, tuple(troubles))


def find_threads() -> Finding:
    torch = import_module("torch")
    settings = {name: os.environ[name] for name in THREAD_SETTINGS if name in os.environ}
    return Finding({"torch": torch.get_num_threads(), **settings})


def find_gpu() -> Finding:
    """What the driver knows and whether torch can use it."""
    torch, listed = import_module("torch"), _gpus()
    seen = bool(torch.cuda.is_available())
    facts = {"driver_lists": listed, "torch_sees": torch.cuda.get_device_name() if seen else None}
    if not listed or seen:
        return Finding(facts)
    if torch.version.cuda is None:
        why = "this torch is built without CUDA", "pip install 'torch==2.11.*' 'torchaudio==2.11.*' without CPU index"
    else:
        why = (
            f"torch, built for CUDA {torch.version.cuda}, cannot use it",
            "update the NVIDIA driver, or see nvidia-smi",
        )
    return Finding(facts, (Trouble(f"there is a GPU ({listed[0]}), but {why[0]}", why[1]),))


def _gpus() -> list[str]:
    """Name, memory and driver of each NVIDIA GPU that its driver lists."""
    if shutil.which(GPU_QUERY[0]) is None:
        return []
    try:
        done = subprocess.run(GPU_QUERY, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []


def find_memory() -> Finding:
    found = memory_bytes()
    usable = [bytes_ for bytes_ in (found["available"], found["limit"]) if bytes_ is not None]
    facts = {f"{name}_gb": None if size is None else round(size / GIGABYTE, 1) for name, size in found.items()}
    if not usable or min(usable) >= LEAST_MEMORY:
        return Finding(facts)
    return Finding(
        facts,
        (Trouble(f"{min(usable) / GIGABYTE:.1f} GB of memory are free", "end other programs, or use fewer --workers"),),
    )


def find_disk() -> Finding:
    """Where results, temporary files, compiled code and downloaded models go: room, and leave to write."""
    places = {"here": Path.cwd(), "temporary": Path(tempfile.gettempdir()), "models": _hub_cache()}
    facts: dict[str, object] = {}
    troubles, disks = [], set[int]()
    for name, place in places.items():
        free = free_bytes(place)
        facts[name] = {"path": str(place), "free_gb": round(free / GIGABYTE, 1)}
        disk = existing(place).stat().st_dev
        if free < LEAST_DISK and disk not in disks:
            troubles.append(
                Trouble(
                    f"{place} has {free / GIGABYTE:.1f} GB free",
                    "make room, or work in another folder (TMPDIR, HF_HOME)",
                )
            )
        disks.add(disk)
        if not os.access(existing(place), os.W_OK):
            advice = (
                "give results another place with --out" if name == "here" else "set TMPDIR or HF_HOME to another place"
            )
            troubles.append(Trouble(f"{place} cannot be written", advice))
    compiled = _kernel_cache()
    facts["compiled_code"] = {"path": compiled}
    if compiled is None:
        troubles.append(
            Trouble(
                "compiled code cannot be kept: neither the installation nor the user's cache can be written",
                "set NUMBA_CACHE_DIR to a folder that can be written; else every start compiles for half a minute",
            )
        )
    return Finding(facts, tuple(troubles))


def _hub_cache() -> Path:
    """As huggingface_hub has it."""
    return Path(import_module("huggingface_hub.constants").HF_HUB_CACHE)


def _kernel_cache() -> str | None:
    """The folder where numba keeps compiled kernels; None where it finds none that can be written."""
    from numba.core.caching import FunctionCache

    from audio_vq.kernels.compiling import compiled

    try:
        return str(FunctionCache(compiled)._cache_path)  # noqa: SLF001 - numba tells nobody else
    except RuntimeError:
        return None


def find_network() -> Finding:
    """Which settings there are; what they hold may be secret. Only models from the Hub need the network."""
    given = [name for name in NETWORK_SETTINGS if name in os.environ or name.lower() in os.environ]
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}
    return Finding({"settings": given, "hub": "offline: only models that are in the cache" if offline else "online"})
