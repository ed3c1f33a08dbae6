"""A bucket on the loopback: gcp-storage-emulator, which comes from the package index.

It knows nothing of what the real store promises about generations, nor of lists from one name to
another; both are added here, in front of it. One request is served at a time, so that what depends
on a generation is decided at once for all.
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
    """Attributes: asked, of every request its method and the name of its object, "" of a list;
    refusing, names that may not be read or written; losing, names of which one write is done and
    not answered."""

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
        """All that is there, for `restore`."""
        known = self.storage
        return dict(known._store._files), {x: dict(y) for x, y in known.objects.items()}

    def restore(self, kept):
        self.clear()
        with Handler.lock:
            known, (contents, objects) = self.storage, kept
            known._store._files.update(contents)
            known.objects.update({x: dict(y) for x, y in objects.items()})

    @property
    def names(self):
        """Of all objects."""
        return list(self.storage.objects.get(BUCKET, {}))

    def clear(self):
        with Handler.lock:
            self.storage.wipe(keep_buckets=True)
            for known in (self.asked, self.refusing, self.losing):
                known.clear()


@cache
def running() -> Server:
    """The emulator of this process, which is all that TensorStore knows of Google from here on, in
    the processes that are started too."""
    emulator = Server()
    threading.Thread(target=emulator.serve_forever, daemon=True).start()
    os.environ["TENSORSTORE_GCS_HTTP_URL"] = emulator.url
    return emulator
