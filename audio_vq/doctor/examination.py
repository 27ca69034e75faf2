"""What is found of a kind, what is wrong with it, and how all kinds are looked at although some looks may fail."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Trouble:
    """What is wrong, in a line, and what to do about it, in another."""

    what: str
    advice: str
    serious: bool = False  # audio-vq does not work at all with it


@dataclass(frozen=True)
class Finding:
    facts: dict[str, Any]  # of JSON's types
    troubles: tuple[Trouble, ...] = ()


Probe = Callable[[], Finding]


@dataclass(frozen=True)
class Examination:
    """What every probe has found, by the names of the probes."""

    findings: dict[str, Finding] = field(default_factory=dict)

    @property
    def troubles(self) -> list[Trouble]:
        return [trouble for finding in self.findings.values() for trouble in finding.troubles]

    @property
    def works(self) -> bool:
        return not any(trouble.serious for trouble in self.troubles)


def examine(probes: Mapping[str, Probe]) -> Examination:
    """Asks each probe; one that fails is a trouble of its own and stops none of the others."""
    return Examination({name: _guarded(name, probe) for name, probe in probes.items()})


def _guarded(name: str, probe: Probe) -> Finding:
    try:
        return probe()
    except ImportError as error:  # of a library, each of which is looked at for itself
        return Finding({"failed": said_by(error)})
    except Exception as error:  # noqa: BLE001 - a doctor looks at what is broken in ways nobody thought of
        said = said_by(error)
        return Finding({"failed": said}, (Trouble(f"{name} cannot be looked at: {said}", "please report this"),))


def said_by(error: BaseException) -> str:
    """An exception in one line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"
