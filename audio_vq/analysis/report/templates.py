"""The templates and other files of our own that pages are made of."""

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup


def page_template(name: str) -> Template:
    """A template of this package: what is put in is escaped, and a name that is missing is an error."""
    return Environment(
        loader=PackageLoader("audio_vq.analysis.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    ).get_template(name)


def page_part(name: str) -> Markup:
    """One of our own files, part of a page as it stands."""
    return Markup((Path(__file__).parent / name).read_text(encoding="utf-8"))  # noqa: S704
