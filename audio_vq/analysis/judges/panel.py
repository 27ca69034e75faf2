"""Many clips before the judges: on all cores, each clip once, continued where an interrupted call stood."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from audio_vq.analysis.judges.models import Clip, Impression
from audio_vq.audio import to_pcm16
from audio_vq.parallel import in_order
from audio_vq.progress import progress_bar

Judge = Callable[[Clip], Impression]


@dataclass(frozen=True)
class Panel:
    """The judges: a function that processes can be given, the versions of what is behind it, how many at once."""

    judge: Judge
    versions: Mapping[str, str]
    workers: int = 1


def hear(clips: Mapping[str, Callable[[], Clip]], panel: Panel, path: Path) -> dict[str, Impression]:
    """Impressions by the names of the clips; each is judged once, since `path` keeps them by the clips' content."""
    heard = _read_judged(path)
    keys = {name: _content_key(make(), panel.versions) for name, make in clips.items()}
    todo = {key: clips[name] for name, key in keys.items() if key not in heard}
    jobs: Iterator[Clip] = (make() for make in todo.values())
    results = in_order(panel.judge, jobs, max(1, min(panel.workers, len(todo))))
    total = len(set(keys.values()))
    with (
        closing(results),
        path.open("a", encoding="utf-8") as file,
        progress_bar("judging", total=total, completed=total - len(todo)) as bar,
    ):
        for key, impression in zip(todo, results, strict=True):
            line = json.dumps({"key": key} | impression.to_json())
            file.write(line + "\n")
            file.flush()
            heard[key] = Impression.from_json(json.loads(line))  # as a later call reads it, rounded
            bar.advance()
    return {name: heard[key] for name, key in keys.items()}


def _read_judged(path: Path) -> dict[str, Impression]:
    """A last line that a kill cut off is dropped."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = path.read_bytes() if path.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    path.write_bytes(whole)
    return {record["key"]: Impression.from_json(record) for record in map(json.loads, whole.splitlines())}


def _content_key(clip: Clip, versions: Mapping[str, str]) -> str:
    digest = blake2b(to_pcm16(clip.waveform).tobytes(), digest_size=16)
    digest.update(repr((clip.sample_rate, clip.reference, sorted(versions.items()))).encode())
    return digest.hexdigest()
