"""A web server on the loopback that serves a folder, with faults on request."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class WebServer:
    """A context manager.

    Attributes:
        folder: what it serves.
        faults: by path, "/index.json" for example, what to do instead of answering: a status, or
            the name of a method of `Handler`.
        requests: the paths that were asked for.
    """

    def __init__(self, folder: Path):
        self.folder, self.faults, self.requests = folder, {}, []

    def __enter__(self) -> "WebServer":
        handler = type("Served", (Handler,), {"web": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception) -> None:
        self._server.shutdown()
        self._server.server_close()


class Handler(BaseHTTPRequestHandler):
    web: WebServer

    def do_GET(self):
        self.web.requests.append(self.path)
        fault = self.web.faults.get(self.path)
        if isinstance(fault, int):
            self.send_error(fault)
        elif fault:
            getattr(self, fault)()
        else:
            self.whole()

    def content(self) -> bytes | None:
        path = self.web.folder / self.path.lstrip("/")
        return path.read_bytes() if path.is_file() else None

    def whole(self, content: bytes | None = None, announced: int | None = None):
        content = self.content() if content is None else content
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content) if announced is None else announced))
        self.end_headers()
        self.wfile.write(content)

    def breaks_off(self):
        content = self.content()
        self.whole(content[: len(content) // 2], len(content))
        self.close_connection = True

    def breaks_off_once(self):
        self.web.faults.pop(self.path)
        self.breaks_off()

    def shorter(self):
        self.whole(self.content()[:-1])

    def longer(self):
        self.whole(self.content() + b"x")

    def changed(self):
        content = bytearray(self.content())
        content[len(content) // 2] ^= 1
        self.whole(bytes(content))

    def nonsense(self):
        self.whole(b"<html>a page</html>")

    def hangs(self):
        time.sleep(1.5)

    def redirects(self):
        self.send_response(302)
        self.send_header("Location", f"/moved{self.path}")
        self.end_headers()

    def circles(self):
        self.send_response(302)
        self.send_header("Location", self.path)
        self.end_headers()

    def log_message(self, *arguments):
        pass
