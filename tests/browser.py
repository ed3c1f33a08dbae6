"""A headless browser, driven through chromedriver's protocol without further packages."""

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

DRIVER = shutil.which("chromedriver")
BINARY = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
MISSING = not (DRIVER and BINARY)
_KEY = "element-6066-11e4-a52e-4f735466cecf"  # of an element's id in the protocol


def needs_browser(test):
    """Mark a test that opens a page."""
    skipped = pytest.mark.skipif(MISSING, reason="no chromium with chromedriver")
    return pytest.mark.slow(skipped(test))


class Browser:
    """A context manager; `size` is the width and the height in pixels."""

    def __init__(self, size: tuple[int, int] = (1400, 1000)):
        self.size = size

    def __enter__(self) -> "Browser":
        self._driver = subprocess.Popen(
            [DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        port = None
        for line in self._driver.stdout:
            if "started successfully on port" in line:
                port = line.strip().rstrip(".").rpartition(" ")[2]
                break
        assert port, "chromedriver did not start"
        self._root = f"http://127.0.0.1:{port}/session"
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        options = {"args": arguments, "binary": BINARY}
        settings = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        capabilities = {"alwaysMatch": {"browserName": "chrome", **settings}}
        self._root += "/" + self._call("", {"capabilities": capabilities})["sessionId"]
        self.resize(*self.size)
        return self

    def __exit__(self, *exception) -> None:
        try:
            self._call("", method="DELETE")
        finally:
            self._driver.terminate()
            self._driver.wait(30)
            self._driver.stdout.close()

    def resize(self, width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.command("Emulation.setDeviceMetricsOverride", **metrics)

    def open(self, path: Path, fragment: str = "") -> None:
        self._call("/url", {"url": path.resolve().as_uri() + fragment})

    def run(self, script: str, *arguments: Any) -> Any:
        """The value that a piece of JavaScript returns."""
        return self._call("/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, script: str, seconds: float = 20) -> Any:
        """The value that a script returns, once it is true."""
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.05)
        return value

    def click(self, css: str) -> None:
        element = self._call("/element", {"using": "css selector", "value": css})[_KEY]
        self._call(f"/element/{element}/click", {})

    def move(self, x: float, y: float) -> None:
        """Move the mouse to a point of the visible page."""
        self.command("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def press_at(self, x: float, y: float) -> None:
        """Click a point of the visible page."""
        for kind in ("mousePressed", "mouseReleased"):
            options = {"button": "left", "clickCount": 1}
            self.command("Input.dispatchMouseEvent", type=kind, x=x, y=y, **options)

    def press(self, key: str) -> None:
        """Press and release a key, such as "ArrowLeft" or " "."""
        text = {"text": key} if len(key) == 1 else {}
        self.command("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, **text)
        self.command("Input.dispatchKeyEvent", type="keyUp", key=key, code=key)

    def log(self) -> list[str]:
        """The messages on the page's console since the last call."""
        return [entry["message"] for entry in self._call("/se/log", {"type": "browser"})]

    def command(self, name: str, **parameters: Any) -> Any:
        return self._call("/goog/cdp/execute", {"cmd": name, "params": parameters})

    def _call(self, path: str, body: Any = None, method: str = "POST") -> Any:
        data = json.dumps(body).encode() if method == "POST" else None
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._root + path, data, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None
