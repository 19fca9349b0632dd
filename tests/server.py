"""A web server on this machine that answers well or badly, as each path is told to."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Served:
    """A file of the server, and what is wrong with how it is served."""

    content: bytes
    ranges: bool = True  # whether it heeds Range
    cut_after: int | None = None  # bytes after which every connection is closed
    stated: int | None = None  # what Content-Length says instead of the truth; 0 for none
    failures: int = 0  # how many answers are 503 first
    asked: list[str | None] = field(default_factory=list)  # the Range of every request


class Server(http.server.ThreadingHTTPServer):
    """Serves `files` by their paths; any other path is a 404."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, Served] = {}

    def serve(self, name: str, content: bytes, **manners: object) -> str:
        self.files[f"/{name}"] = Served(content, **manners)  # type: ignore[arg-type]
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        served = self.server.files.get(self.path)
        if served is None:
            self.send_error(404)
            return
        wanted = self.headers.get("Range")
        served.asked.append(wanted)
        if served.failures:
            served.failures -= 1
            self.send_error(503)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and served.ranges else 0
        if start and start >= len(served.content):
            self.send_error(416)
            return
        body = served.content[start:]
        self.send_response(206 if start else 200)
        length = len(body) if served.stated is None else served.stated
        if length:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body[: served.cut_after])

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def running() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()
