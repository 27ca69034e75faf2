"""What may reach the server at all: few paths, small requests in little time, from its own page."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from audio_vq.demo.limits import Limits

LOOPBACK = ("127.0.0.1", "localhost", "::1")
UPLOAD = "/gradio_api/upload"
# of Gradio's own routes those that the page and `gradio_client` ask for; `queue` is how all work begins
GRADIO = (
    "/config",
    "/gradio_api/info",
    "/gradio_api/queue/",
    "/gradio_api/file=",
    "/gradio_api/cancel",
    "/gradio_api/reset",
    "/gradio_api/heartbeat/",
    "/gradio_api/startup-events",
    UPLOAD,
)
FORM_BYTES = 1 << 16  # around a file that is sent
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self' blob:; connect-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "microphone=(self)",
}


class Guard:
    """Wraps an application.

    Args:
        app: what is guarded.
        limits: how much may be sent.
        own: paths, or their beginnings, of the page.
        uploads: the folder that holds what was sent.
        hosts: under which the page is asked for, in `Host`; empty: any. On loopback others mean that some page of the
            web has a name that points here (DNS rebinding).
    """

    def __init__(
        self, app: ASGIApp, limits: Limits, own: tuple[str, ...], uploads: Path, hosts: tuple[str, ...]
    ) -> None:
        self.app, self.limits, self.known, self.uploads, self.hosts = app, limits, (*own, *GRADIO), uploads, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        answer, refused = _Answer(send), self._refusal(scope)
        if refused:
            await refused(scope, receive, answer.send)
            return
        is_upload = scope["path"].startswith(UPLOAD)
        limited = _Limited(receive, self._most_bytes(is_upload=is_upload))
        try:
            if is_upload:
                async with asyncio.timeout(self.limits.upload_seconds):
                    await self.app(scope, limited.receive, answer.send)
            else:
                await self.app(scope, limited.receive, answer.send)
        except (_TooMuchError, TimeoutError):
            if not answer.begun:
                await _text(413, "this is more than is taken, or takes too long")(scope, receive, answer.send)

    def _most_bytes(self, *, is_upload: bool) -> int:
        return self.limits.upload_bytes + FORM_BYTES if is_upload else self.limits.request_bytes

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        path, headers = scope["path"], Headers(scope=scope)
        host = headers.get("host", "")
        if self.hosts and _name(host) not in self.hosts:
            return _text(421, "this page is asked for under another name")
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return _text(403, "this comes from another page")
        if not any(
            path == known or (len(known) > 1 and known[-1] in "/=" and path.startswith(known)) for known in self.known
        ):
            return _text(404, "there is no such page")
        is_upload = path.startswith(UPLOAD)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._most_bytes(is_upload=is_upload):
            return _text(413, f"at most {self._most_bytes(is_upload=is_upload) >> 20} MB are taken")
        if is_upload and _bytes_in(self.uploads) > self.limits.stored_bytes:
            return _text(507, "there is no room for uploads at the moment; try again later")
        return None


class _TooMuchError(Exception):
    """A body without, or beyond, its stated length."""


class _Limited:
    def __init__(self, receive: Receive, most: int) -> None:
        self._receive, self._left = receive, most

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise _TooMuchError
        return message


class _Answer:
    """Says on every answer what a browser may do with it."""

    def __init__(self, send: Send) -> None:
        self._send, self.begun = send, False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY.items():
                headers[name] = value
        await self._send(message)


def _name(host: str) -> str:
    """Of `Host`, without port and brackets."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    return name.strip("[]").lower()


def _bytes_in(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # deleted meanwhile
                total += Path(place, name).stat().st_size
    return total


def _text(status: int, text: str) -> Any:
    return PlainTextResponse(text, status)
