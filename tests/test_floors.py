"""The architecture as a test: a file imports only from floors below its own."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "audio_vq"
FLOORS = {
    "errors": 0, "files": 0, "audio": 0, "config": 0, "units": 0, "kernels": 0,
    "parallel": 0, "progress": 0, "espeak": 0, "phonemes": 0,
    "models": 1, "discovery": 1, "loudness": 1,
    "codec": 2,
    "data": 3, "checkpoint": 3,
    "pretrained": 4,
    "unit_prior": 5, "training": 5,
    "analysis": 6, "bench": 6,
    "cli": 7,
}  # fmt: skip
AUDIO_LIBRARIES = {"soundfile", "librosa", "torchaudio"}
FILES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    here = room(path)
    if here == "__init__":
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "audio_vq" or len(parts) == 1 or parts[1] not in FLOORS:
            continue
        below = FLOORS[parts[1]] < FLOORS[here]
        # floor 0 may use errors, all but errors files too; a room may use itself
        shared = FLOORS[here] == 0 and here != "errors" and (parts[1] == "errors" or parts[1] == "files" != here)
        assert below or parts[1] == here or shared, f"{path} imports {name}, which is not below it"


def test_every_room_has_a_floor():
    rooms = {room(path) for path in FILES} - {"__init__"}
    assert rooms == set(FLOORS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_audio_libraries_have_one_door(path):
    if room(path) == "audio":
        return
    used = {name.split(".")[0] for name in imports(path)} & AUDIO_LIBRARIES
    assert not used, f"{path} imports {used}; go through audio_vq.audio"
