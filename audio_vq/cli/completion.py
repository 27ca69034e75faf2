"""What the Tab key offers: checkpoints, their speakers, settings of training. Files are read, no model is opened."""

import dataclasses
import json
import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

from audio_vq.shipped import SHIPPED, conf_folder

CONFIG = "config.json"
LINES = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")  # of bash; of zsh and fish
MARKS = (CONFIG, "best", "checkpoints")  # of a checkpoint's or a run's folder


def checkpoints(incomplete: str) -> list[str]:
    """Shipped models and the folders of checkpoints and runs; where there are none, the shell offers files."""
    names = [path.name for path in SHIPPED.iterdir() if (path / CONFIG).is_file()] if SHIPPED.is_dir() else []
    above = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    try:
        folders = [path for path in above.iterdir() if any((path / mark).exists() for mark in MARKS)]
    except OSError:
        folders = []
    return sorted(name for name in [*names, *map(str, folders)] if name.startswith(incomplete))


def speakers(incomplete: str) -> list[str]:
    """Of the first word on the line that names a VQ-VAE."""
    for word in _words():
        for folder in (Path(word), Path(word) / "best", SHIPPED / word):
            try:
                about = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
                if about["kind"] == "vqvae":
                    return [name for name in about["speakers"] if name.startswith(incomplete)]
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue
    return []


def _words() -> list[str]:
    """The line as the shell hands it over: what Typer tells of it lacks all before an option without value."""
    line = next((os.environ[name] for name in LINES if name in os.environ), "")
    try:
        return shlex.split(line)
    except ValueError:  # a quote that is still open
        return line.split()


def settings_of(
    schema: str, conf: str, groups: tuple[str, ...], models: tuple[str, ...]
) -> Callable[[typer.Context, str], list[str]]:
    """Completes `key=value` of a Hydra verb, whose schema is a dataclass of audio_vq.config.

    The keys in `groups` have presets in folders of `conf`, those in `models` checkpoints. bash hands over `key`, `=`
    and the value as words of their own, other shells the whole.
    """

    def complete(context: typer.Context, incomplete: str) -> list[str]:
        from audio_vq import config

        keys = dict(_keys(getattr(config, schema)()))

        def values(key: str, begun: str) -> list[str]:
            if key in models:
                return checkpoints(begun)
            return [each for each in _values(key, keys, conf, groups) if each.startswith(begun)]

        before = list(context.params.get("settings") or ())
        key, equals, value = incomplete.partition("=")
        if equals:
            return [f"{key}={each}" for each in values(key, value)]
        if before[-1:] == ["="] and len(before) > 1:
            return values(before[-2], incomplete)
        if before and before[-1] in {*keys, *groups} and before[-2:-1] != ["="]:
            return values(before[-1], incomplete)
        return [f"{each}=" for each in dict.fromkeys([*groups, *keys]) if each.startswith(incomplete)]

    return complete


def _keys(settings: Any, prefix: str = "") -> Iterator[tuple[str, dataclasses.Field[Any]]]:
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            yield from _keys(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", field


def _values(key: str, keys: dict[str, dataclasses.Field[Any]], conf: str, groups: tuple[str, ...]) -> list[str]:
    if key in groups:
        return sorted(path.stem for path in (conf_folder() / conf / key).glob("*.yaml"))
    if key not in keys:
        return []
    if keys[key].type is bool:
        return ["true", "false"]
    allowed = keys[key].metadata.get("allowed")
    return [str(each) for each in allowed.choices] if allowed else []
