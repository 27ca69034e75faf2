"""Packages that come with an extra of audio-vq, and what to say where one is missing."""

import importlib.util

from audio_vq.errors import UserError


def has_package(package: str) -> bool:
    """Whether it can be imported; it is not imported to find out."""
    return importlib.util.find_spec(package) is not None


def require_package(package: str, extra: str) -> None:
    """Raise a UserError that says how to install a package of an optional extra."""
    if not has_package(package):
        raise UserError(f"{package} is not installed; run pip install 'audio-vq[{extra}]'")
