"""A bucket on the loopback: gcp-storage-emulator, which comes from the package index.

It knows nothing of what the real store promises about generations, nor of lists from one name to
another; both are added here, in front of it. One request is served at a time, so that what depends
on a generation is decided at once for all.
"""

import os
import threading
from contextlib import contextmanager
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

pytest.importorskip("gcp_storage_emulator", reason="pip install gcp-storage-emulator")
from gcp_storage_emulator import server, storage
from gcp_storage_emulator.handlers import buckets

BUCKET = "sweeps-of-tests"


read_data = server._read_data
server._read_data = lambda *request: read_data(*request) or b""  # an object may be empty


class Storage(storage.Storage):
    """In memory, and with lists from one name to another."""

    span = ("", "")

    def __init__(self):
        super().__init__(use_memory_fs=True)

    def _write_config_to_file(self):
        pass

    def get_file_list(self, *args, **kwargs):
        (found, *others), (first, last) = super().get_file_list(*args, **kwargs), self.span
        inside = [x for x in found if first <= x["name"] and (not last or x["name"] < last)]
        return (inside, *others)

    def generation(self, name):
        """0 where there is no such object, as the real store has it."""
        return int(self.objects.get(BUCKET, {}).get(name, {}).get("generation", 0))


class Handler(server.RequestHandler):
    """What the emulator does, if the generation is the one that was asked for."""

    protocol_version = "HTTP/1.1"
    lock = threading.Lock()
    losing: list[str] = []
    """The beginnings of names: one request that writes such an object is carried out, and the
    answer lost."""

    def _serve(self, method):
        with self.lock:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            self.name = query.get("name") or unquote(parts.path.partition("/o/")[2])
            self.storage.span = query.get("startOffset", ""), query.get("endOffset", "")
            self.generation = self.storage.generation(self.name)
            self.lost = False
            wanted = query.get("ifGenerationMatch")
            if wanted is not None and int(wanted) != self.generation:
                return self._answer(HTTPStatus.PRECONDITION_FAILED)
            if query.get("ifGenerationNotMatch") == str(self.generation):
                return self._answer(HTTPStatus.NOT_MODIFIED)
            lost = next((x for x in self.losing if method == "POST" and x in self.name), None)
            self.lost = lost is not None
            if self.lost:
                self.losing.remove(lost)
            server.Router(self).handle(method)

    def send_response(self, code, message=None):
        super().send_response(HTTPStatus.SERVICE_UNAVAILABLE if self.lost else code)

    def _answer(self, status):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

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
    daemon_threads = True

    def __init__(self):
        self.storage = Storage()
        buckets.create_bucket(BUCKET, self.storage)
        super().__init__(("127.0.0.1", 0), lambda *about: Handler(self.storage, *about))

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def objects(self):
        return self.storage.objects[BUCKET]


@contextmanager
def running():
    """The emulator, which is all that TensorStore knows of Google, in this process and in those
    that it starts."""
    emulator = Server()
    thread = threading.Thread(target=emulator.serve_forever, daemon=True)
    thread.start()
    before = os.environ.get("TENSORSTORE_GCS_HTTP_URL")
    os.environ["TENSORSTORE_GCS_HTTP_URL"] = emulator.url
    try:
        yield emulator
    finally:
        os.environ.pop("TENSORSTORE_GCS_HTTP_URL")
        if before is not None:
            os.environ["TENSORSTORE_GCS_HTTP_URL"] = before
        emulator.shutdown()
        emulator.server_close()
        thread.join()
