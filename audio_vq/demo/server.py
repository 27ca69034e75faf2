"""The web server: our own page and its parts, Gradio's queue and uploads behind them, on one port.

The page is ours down to the last byte, so that it asks for nothing from elsewhere and works without a network.
"""

import errno
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from audio_vq.audio.files import wav_bytes
from audio_vq.demo.examples import Example, make_examples
from audio_vq.demo.guard import LOOPBACK, Guard
from audio_vq.demo.service import Service
from audio_vq.errors import UserError

PARTS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - only where it is asked for
# before Gradio is imported: it tells nobody that it runs, and does not ask a proxy for this machine
QUIET = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1", "no_proxy": "localhost,127.0.0.1,::1"}


@contextmanager
def serving(service: Service, host: str = "127.0.0.1", port: int = 7860) -> Iterator[str]:
    """Serves the page while the context lasts; gives its address. Examples are made, and kernels compiled, beside it.

    Raises:
        UserError: the port is taken, or the host is not this machine's.
    """
    number = free_port(host, port)
    os.environ.update(QUIET)
    torch.set_num_threads(1)  # of every request: more of them slow down such small products, and other visitors
    examples = list[Example]()
    with tempfile.TemporaryDirectory(prefix="audio-vq-demo-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        from audio_vq.demo.api import build_api

        blocks = build_api(service, lambda: examples, Path(folder) / "results")
        functions = {each.api_name: number for number, each in blocks.fns.items()}
        routes = _routes(service, examples, functions)
        hosts = LOOPBACK if host in LOOPBACK else ()
        own = tuple(route.path.partition("{")[0] for route in routes)
        blocks.launch(
            server_name=host,
            server_port=number,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            show_error=False,
            max_file_size=service.limits.upload_bytes,
            state_session_capacity=service.limits.visitors,
            enable_monitoring=False,
            run_history=False,
            footer_links=[],
            pwa=False,
            ssr_mode=False,
            mcp_server=False,
            app_kwargs={
                "routes": routes,
                "middleware": [Middleware(Guard, service.limits, own, Path(folder), hosts)],
                "docs_url": None,
                "redoc_url": None,
                "openapi_url": None,
            },
        )
        threading.Thread(target=_warm_up, args=(service, examples), daemon=True).start()
        try:
            yield address(host, number)
        finally:
            blocks.close(verbose=False)


def address(host: str, port: int) -> str:
    shown = "127.0.0.1" if host in EVERYWHERE else host
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def free_port(host: str, port: int) -> int:
    """The port, or any where it is 0. Raises UserError where it cannot be had."""
    if not 0 <= port <= 65535:
        raise UserError(f"--port {port}; expected 1 to 65535, or 0 for any that is free")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(place)
            return int(tried.getsockname()[1])
    except socket.gaierror:
        raise UserError(
            f"--host {host!a} is not known; give 127.0.0.1, or 0.0.0.0 to be seen by other machines"
        ) from None
    except OSError as error:
        taken = f"port {port} is in use; end what uses it, or give another --port (0: any that is free)"
        message = taken if error.errno == errno.EADDRINUSE else f"{host} port {port}: {error.strerror}"
        raise UserError(message) from None


def _warm_up(service: Service, examples: list[Example]) -> None:
    """Does all that is slow when it is done first, and makes the examples of it."""
    began = time.monotonic()
    for example in make_examples(service):
        service.example(service.model, example.waveform)
        examples.append(example)
    print(f"audio-vq: warm after {time.monotonic() - began:.0f} seconds", file=sys.stderr, flush=True)


def _routes(service: Service, examples: list[Example], functions: dict[str, int]) -> list[Route]:
    folder = Path(__file__).parent
    parts = {file.name: file.read_bytes() for file in folder.iterdir() if file.suffix in PARTS}
    facts = {**service.facts(service.model), "functions": functions}
    environment = Environment(loader=PackageLoader("audio_vq.demo", "."), autoescape=True, undefined=StrictUndefined)
    html = environment.get_template("page.html.j2").render(facts=facts, limits=service.limits)

    def page(_: Request) -> Response:
        return HTMLResponse(html, headers={"Cache-Control": "no-cache"})

    def part(request: Request) -> Response:
        name = request.path_params["name"]  # a name without slashes, looked up: no path is made of it
        if name not in parts:
            return PlainTextResponse("there is no such page", 404)
        return Response(parts[name], media_type=PARTS[Path(name).suffix], headers={"Cache-Control": "no-cache"})

    def example(request: Request) -> Response:
        number = request.path_params["number"]
        if number >= len(examples):
            return PlainTextResponse("not made yet", 404)
        return Response(wav_bytes(examples[number].waveform, service.model.sample_rate), media_type="audio/wav")

    def names(_: Request) -> Any:
        from starlette.responses import JSONResponse

        return JSONResponse([each.name for each in examples])

    return [
        Route("/", page),
        Route("/examples", names),
        Route("/examples/{number:int}", example),
        Route("/parts/{name}", part),
    ]
