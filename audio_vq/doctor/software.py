"""Python, the libraries, and the extras."""

import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version

from audio_vq.doctor.examination import Finding, Trouble, said_by

TOGETHER = {"torch", "torchaudio"}  # whose versions belong together
IMPORTED = ("numpy", "scipy", "torch", "torchaudio", "numba", "soundfile", "librosa", "onnxruntime", "swift_f0")
# extras that nobody needs who uses audio-vq, and another way to one that is listed
UNLISTED = {"dev", "docs", "judges-wheels"}


@dataclass(frozen=True)
class Requirement:
    """What audio-vq says of a package that it needs."""

    package: str
    specifier: str  # ">=2.0", or nothing
    extra: str | None  # None: always


def requirements() -> list[Requirement]:
    """Those of the installed audio-vq; extras of extras are the packages they stand for."""
    found = [_parsed(text) for text in requires("audio-vq") or []]
    return [each for requirement in found for each in _spelled_out(requirement, found)]


def _parsed(text: str) -> Requirement:
    """Of `resemblyzer==0.1.4; extra == "judges"`, or `audio-vq[align]; extra == "judges"`."""
    what, _, condition = text.partition(";")
    match = re.match(r"([A-Za-z0-9._-]+(?:\[[^]]*\])?)\s*(.*)", what.strip())
    assert match is not None
    extra = re.search(r"extra\s*==\s*[\"']([^\"']+)", condition)
    return Requirement(match[1], match[2].strip("() "), extra[1] if extra else None)


def _spelled_out(requirement: Requirement, all_of_them: list[Requirement]) -> Iterator[Requirement]:
    own = re.fullmatch(r"audio[-_]vq\[(.*)\]", requirement.package)
    if not own:
        yield requirement
        return
    for extra in own[1].split(","):
        for each in all_of_them:
            if each.extra == extra.strip():
                yield from _spelled_out(Requirement(each.package, each.specifier, requirement.extra), all_of_them)


def find_versions() -> Finding:
    """Of audio_vq, Python and what it always needs; too old, too new and missing packages are serious."""
    facts: dict[str, str | None] = {"audio_vq": version("audio-vq"), "python": platform.python_version()}
    troubles = []
    for each in requirements():
        if each.extra is not None:
            continue
        installed = facts[each.package] = installed_version(each.package)
        if installed is None or not _fits(installed, each.specifier):
            found = "is not installed" if installed is None else f"{installed} is installed"
            troubles.append(
                Trouble(
                    f"{each.package} {found}; audio-vq needs {each.specifier or 'it'}", _install(each), serious=True
                )
            )
    return Finding(facts, tuple(troubles))


def _install(requirement: Requirement) -> str:
    names = sorted(TOGETHER) if requirement.package in TOGETHER else [requirement.package]
    return f"pip install {' '.join(repr(name + requirement.specifier) for name in names)}"


def installed_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _fits(installed: str, specifier: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(specifier).contains(installed, prereleases=True)


def find_extras() -> Finding:
    """Each extra: installed, or what to type. One that is missing is no trouble."""
    missing: dict[str, list[str]] = {}
    for each in requirements():
        if each.extra is not None and each.extra not in UNLISTED:
            missing.setdefault(each.extra, [])
            if installed_version(each.package) is None:
                missing[each.extra].append(each.package)
    return Finding(
        {
            extra: f"pip install 'audio-vq[{extra}]' (lacks {', '.join(packages)})" if packages else "installed"
            for extra, packages in missing.items()
        }
    )


def find_libraries() -> Finding:
    """Whether the libraries that hold compiled code can be imported, what most installations fail at."""
    facts, troubles = {}, []
    for name in IMPORTED:
        try:
            import_module(name)
            facts[name] = "works"
        except Exception as error:  # noqa: BLE001 - libraries fail to load in many ways: a missing file, another ABI
            facts[name] = said_by(error)
            troubles.append(Trouble(f"{name} cannot be imported: {said_by(error)}", _mend(name), serious=True))
    return Finding(facts, tuple(troubles))


def _mend(name: str) -> str:
    package = name.replace("_", "-")
    known = [each for each in requirements() if each.extra is None and each.package == package]
    if name in TOGETHER:
        return f"the two must be of one version and build: {_install(known[0])} --force-reinstall"
    return f"pip install --force-reinstall {package}"


def find_audio() -> Finding:
    """What libsndfile reads; named by text, since audio_vq.audio is more than what is looked at here."""
    soundfile = import_module("soundfile")
    formats = set(soundfile.available_formats())
    has = {
        "mp3": "MP3" in formats,
        "opus": "OGG" in formats and "OPUS" in soundfile.available_subtypes("OGG"),
        "flac": "FLAC" in formats,
    }
    lacking = [name for name, there in has.items() if not there]
    troubles = []
    if lacking:
        troubles.append(
            Trouble(
                f"libsndfile {soundfile.__libsndfile_version__} lacks {', '.join(lacking)}",
                "pip install --force-reinstall soundfile, whose wheel brings a newer one; or convert files to WAV",
                serious="flac" in lacking,
            )
        )
    facts = {"libsndfile": soundfile.__libsndfile_version__, **has, "formats": sorted(formats)}
    return Finding(facts, tuple(troubles))
