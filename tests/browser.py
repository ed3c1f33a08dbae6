"""A real browser without a window, by chromedriver's own protocol: no package is needed."""

import base64
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

DRIVER = shutil.which("chromedriver")
BINARY = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
_KEY = "element-6066-11e4-a52e-4f735466cecf"  # of the protocol: what an element is named by


class Browser:
    """As a context; `size` are the width and the height in pixels."""

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
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        asked = {"capabilities": {"alwaysMatch": {"browserName": "chrome", **wanted}}}
        self._root += "/" + self._call("", asked)["sessionId"]
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

    def open(self, path: Path) -> None:
        self._call("/url", {"url": path.resolve().as_uri()})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a piece of JavaScript returns."""
        return self._call("/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, script: str, seconds: float = 20) -> Any:
        """What a script returns, once that is true."""
        end = time.monotonic() + seconds
        while not (found := self.run(script)):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.05)
        return found

    def click(self, css: str) -> None:
        element = self._call("/element", {"using": "css selector", "value": css})[_KEY]
        self._call(f"/element/{element}/click", {})

    def move(self, x: float, y: float) -> None:
        """The mouse, to a place within what is in sight."""
        self.command("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def press(self, x: float, y: float) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            place = {"x": x, "y": y, "button": "left", "clickCount": 1}
            self.command("Input.dispatchMouseEvent", type=kind, **place)

    def log(self) -> list[str]:
        """What the page has said on the console since the last call."""
        return [entry["message"] for entry in self._call("/se/log", {"type": "browser"})]

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._call("/screenshot", method="GET")))

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
