"""`audio-vq doctor`."""

import json
import sys
from typing import Any

import typer

from audio_vq.cli.options import Json


def doctor(json_output: Json = False) -> None:
    """Look at what audio-vq needs: libraries, processor, GPU, audio formats, memory, disk; with advice where it lacks.

    Exit code 1 where audio-vq cannot work at all. With --json: versions, extras, libraries, audio, cpu, threads, gpu,
    memory, disk, network (facts of each), troubles (of each: what, advice, serious), works.

    Example: audio-vq doctor
    """
    from audio_vq.doctor.examination import examine
    from audio_vq.doctor.hardware import find_cpu, find_disk, find_gpu, find_memory, find_network, find_threads
    from audio_vq.doctor.software import find_audio, find_extras, find_libraries, find_versions

    found = examine(
        {
            "versions": find_versions,
            "extras": find_extras,
            "libraries": find_libraries,
            "audio": find_audio,
            "cpu": find_cpu,
            "threads": find_threads,
            "gpu": find_gpu,
            "memory": find_memory,
            "disk": find_disk,
            "network": find_network,
        }
    )
    if json_output:
        facts = {name: finding.facts for name, finding in found.findings.items()}
        troubles = [vars(trouble) for trouble in found.troubles]
        print(json.dumps({**facts, "troubles": troubles, "works": found.works}))
    else:
        for name, finding in found.findings.items():
            print(name)
            for key, value in finding.facts.items():
                print(f"  {key:18} {_text(value)}")
        for trouble in found.troubles:
            print(f"{'broken' if trouble.serious else 'note'}: {trouble.what}\n  → {trouble.advice}")
        if not found.troubles:
            print("nothing is amiss")
    if not found.works:
        print("audio-vq: it cannot work like this; see above", file=sys.stderr)
        raise typer.Exit(1)


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{_text(each)}" if key == "path" else f"{key} {_text(each)}" for key, each in value.items())
    return str(value)
