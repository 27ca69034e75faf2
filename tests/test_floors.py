"""The architecture as a test: a file imports only from floors below its own, and in its own room in one direction."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "audio_vq"
# from the ground up; rooms side by side do not know each other
FLOORS = (
    ("errors",),
    ("files", "progress", "espeak", "extras", "textgrid", "machine", "shipped"),
    ("kernels",),
    ("config", "audio", "parallel"),
    ("discovery", "loudness", "units"),
    ("unit_files",),
    ("pitch",),
    ("models",),
    ("codec",),
    ("checkpoint_info",),
    ("hub",),
    ("data", "checkpoint"),
    ("publish",),
    ("pretrained",),
    ("unit_prior", "encoder_export"),
    ("training", "analysis/alignment"),
    ("analysis/measures", "bench", "doctor"),
    ("analysis/judges",),
    ("analysis/report",),
    ("demo",),
    ("cli",),
)
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
    """Its place in FLOORS: the first folder, or file, and in `analysis` the second."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "/".join(parts[: 2 if parts[0] == "analysis" else 1])


def imported_files(path: Path) -> set[Path]:
    places = [PACKAGE.parent.joinpath(*name.split(".")) for name in imports(path)]
    files = {file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")}
    return {file for file in files if file.is_relative_to(PACKAGE) and file.is_file()} - {path, PACKAGE / "__init__.py"}


ROOMS = {name: height for height, names in enumerate(FLOORS) for name in names}
ROOFS = ("__init__", "analysis/__init__")  # the public names; nothing


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    here = room(path)
    for file in imported_files(path) if here not in ROOFS else ():
        there = room(file)
        assert there == here or ROOMS[there] < ROOMS[here], f"{path} imports {file}, which is not below it"


def test_no_file_needs_itself():
    """Inside a room, too, there is an order: raises CycleError, which names the files."""
    TopologicalSorter({file: imported_files(file) for file in FILES}).prepare()


def test_every_room_has_a_floor():
    assert {room(path) for path in FILES} - set(ROOFS) == set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_audio_libraries_have_one_door(path):
    if room(path) == "audio":
        return
    used = {name.split(".")[0] for name in imports(path)} & AUDIO_LIBRARIES
    assert not used, f"{path} imports {used}; go through audio_vq.audio"
