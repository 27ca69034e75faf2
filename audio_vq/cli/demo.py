"""`audio-vq demo`."""

import os
import signal
import sys
import webbrowser
from typing import Annotated, Any

import typer

from audio_vq.cli.console import show
from audio_vq.cli.options import Checkpoint, Device
from audio_vq.errors import UserError

SHIPPED, SHIPPED_PRIOR = "voices", "voices-prior"


def demo(
    checkpoint: Checkpoint = SHIPPED,
    prior: Annotated[
        str | None,
        typer.Option(metavar="PRIOR", help=f"That goes on with sentences. Default: {SHIPPED_PRIOR}, where it fits."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to be seen at; 0.0.0.0: by other machines too, who need no password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0: any that is free.")] = 7860,
    device: Device = "auto",
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
) -> None:
    """Show a web page: hear yourself in other voices, change units, go on with sentences, add your voice.

    It is seen on this machine alone, and works without a network. The address is printed on stdout; Ctrl-C ends it.

    Example: audio-vq demo voices --port 7860 --no-open

    Programs ask the same of it with gradio_client, by the names /voices, /encode, /decode, /convert, /morph, /continue
    and /add_speaker: Client("http://127.0.0.1:7860").predict(handle_file("a.wav"), "slt", api_name="/convert") is the
    name of a WAV file. `Client.view_api()` lists all arguments.
    """
    from audio_vq.extras import require_package

    require_package("gradio", "demo")
    from audio_vq.demo.server import serving
    from audio_vq.demo.service import Service
    from audio_vq.pretrained import VQVAE

    model = VQVAE.from_pretrained(checkpoint, device)
    service = Service(model, _prior(model, prior, device))
    signal.signal(signal.SIGTERM, _interrupt)
    with serving(service, host, port) as address:
        show(address)
        if open_page and _has_display():
            webbrowser.open(address)
        while True:
            signal.pause()


def _has_display() -> bool:
    """Without one, a browser would be one of text, in this terminal."""
    return sys.platform == "darwin" or any(name in os.environ for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _prior(model: Any, name: str | None, device: str) -> Any:
    """The one that is named, or the shipped one where it was trained on the model's units; else none."""
    from audio_vq.unit_prior import UnitPrior

    unit_prior = UnitPrior.from_pretrained(name or SHIPPED_PRIOR, device)
    try:
        unit_prior.check_units_of(model)
    except UserError:
        if name:
            raise
        return None
    return unit_prior
