"""An emulated bucket on the loopback address: gcp-storage-emulator, with two additions.

The package lacks conditional writes and lists between two names. Requests are served one at a time,
so that of several conditional writes one succeeds.
"""

import json
import logging
import os
import threading
from functools import cache
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

pytest.importorskip("gcp_storage_emulator", reason="pip install gcp-storage-emulator")
from gcp_storage_emulator import server, storage
from gcp_storage_emulator.handlers import buckets

BUCKET = "sweeps-of-tests"

logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)
read_data = server._read_data
server._read_data = lambda *request: read_data(*request) or b""  # an object may be empty


class Storage(storage.Storage):
    """A store in memory that lists the names in `span`."""

    span = ("", "")

    def __init__(self):
        super().__init__(use_memory_fs=True)

    def _write_config_to_file(self):
        pass

    def get_file_list(self, *args, **kwargs):
        (objects, *others), (first, last) = super().get_file_list(*args, **kwargs), self.span
        inside = [x for x in objects if first <= x["name"] and (not last or x["name"] < last)]
        return (inside, *others)

    def generation(self, name):
        """The generation of an object; 0 if it does not exist, as in the real store."""
        return int(self.objects.get(BUCKET, {}).get(name, {}).get("generation", 0))


class Handler(server.RequestHandler):
    """Answers of the emulator, if the generation is the expected one."""

    protocol_version = "HTTP/1.1"
    wbufsize, disable_nagle_algorithm = -1, True  # answers go out whole and at once
    lock = threading.Lock()

    def _serve(self, method):
        with self.lock:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            self.name = query.get("name") or unquote(parts.path.partition("/o/")[2])
            self.storage.span = query.get("startOffset", ""), query.get("endOffset", "")
            self.generation = self.storage.generation(self.name)
            self.server.asked.append((method, self.name))
            self.lost = method == "POST" and self.name in self.server.losing
            wanted = query.get("ifGenerationMatch")
            if f"/b/{BUCKET}/" not in parts.path:
                self._answer(HTTPStatus.NOT_FOUND)
            elif self.name in self.server.refusing:
                self._answer(HTTPStatus.FORBIDDEN)
            elif wanted is not None and int(wanted) != self.generation:
                self._answer(HTTPStatus.PRECONDITION_FAILED)
            elif query.get("ifGenerationNotMatch") == str(self.generation):
                self._answer(HTTPStatus.NOT_MODIFIED)
            else:
                if self.lost:
                    self.server.losing.remove(self.name)
                server.Router(self).handle(method)

    def send_response(self, code, message=None):
        super().send_response(HTTPStatus.SERVICE_UNAVAILABLE if self.lost else code)

    def _answer(self, status):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        text = json.dumps({"error": {"code": int(status)}}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def end_headers(self):
        if self.command == "GET" and self.generation:
            self.send_header("x-goog-generation", str(self.generation))
        super().end_headers()

    def do_GET(self):
        self._serve("GET")

    def do_POST(self):
        self._serve("POST")

    def do_DELETE(self):
        self._serve("DELETE")

    def log_message(self, format, *args):
        pass


class Server(ThreadingHTTPServer):
    """A server on a free port.

    Attributes:
        asked: the method and object name of every request; "" for a list.
        refusing: names that may not be read or written.
        losing: names whose next write is done, but answered with an error.
    """

    daemon_threads, bucket = True, BUCKET

    def __init__(self):
        self.asked: list[tuple[str, str]] = []
        self.refusing: list[str] = []
        self.losing: list[str] = []
        self.storage = Storage()
        buckets.create_bucket(BUCKET, self.storage)
        super().__init__(("127.0.0.1", 0), lambda *about: Handler(self.storage, *about))

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def kept(self):
        """A copy of all objects, for `restore`."""
        store = self.storage
        return dict(store._store._files), {x: dict(y) for x, y in store.objects.items()}

    def restore(self, kept):
        self.clear()
        with Handler.lock:
            contents, objects = kept
            self.storage._store._files.update(contents)
            self.storage.objects.update({x: dict(y) for x, y in objects.items()})

    @property
    def names(self):
        """The names of all objects."""
        return list(self.storage.objects.get(BUCKET, {}))

    def clear(self):
        with Handler.lock:
            self.storage.wipe(keep_buckets=True)
            for names in (self.asked, self.refusing, self.losing):
                names.clear()


@cache
def running() -> Server:
    """The emulator of this process. TensorStore uses it from here on, in child processes too."""
    emulator = Server()
    threading.Thread(target=emulator.serve_forever, daemon=True).start()
    os.environ["TENSORSTORE_GCS_HTTP_URL"] = emulator.url
    return emulator
