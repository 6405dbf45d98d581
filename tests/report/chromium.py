"""A page in Chromium, driven by the DevTools protocol over a pipe: what a reader sees and does, without any package between."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --remote-debugging-pipe"
).split()
KEYS = {"Tab": 9, "Enter": 13, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, " ": 32}


def program() -> str | None:
    """The browser's program; None where none is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Refused(Exception):
    """A command that the browser does not carry out."""


class Browser:
    """One tab. `asked`: addresses of all that was requested, data URIs aside; `said`: errors, violations of policies among them."""

    def __init__(self, process: subprocess.Popen, commands: int, answers: int):
        self.process, self.commands, self.answers = process, commands, answers
        self.number, self.rest, self.session, self.asked, self.said, self.events = 0, b"", "", [], [], set()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict:
        """Sends a command and returns what it answers."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters} | ({"sessionId": self.session} if self.session else {})
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while (answer := self.answer()).get("id") != self.number:
            self.note(answer)
        if "error" in answer:
            raise Refused(f"{method}: {answer['error']}")
        return answer["result"]

    def answer(self) -> dict:
        """The next message of the browser."""
        while b"\0" not in self.rest:
            piece = os.read(self.answers, 1 << 16)
            assert piece, "the browser has ended"
            self.rest += piece
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def note(self, event: dict) -> None:
        """Keeps what events say."""
        name, about = event.get("method", ""), event.get("params", {})
        self.events.add(name)
        if name == "Network.requestWillBeSent" and not about["request"]["url"].startswith("data:"):
            self.asked.append(about["request"]["url"])
        elif name == "Log.entryAdded":
            self.said.append(about["entry"]["text"])
        elif name == "Runtime.exceptionThrown":
            self.said.append(about["exceptionDetails"].get("exception", {}).get("description", "exception"))

    def open(self, path: Path, width: int = 1280, height: int = 900, fragment: str = "") -> None:
        """Opens a file in a window of this size, and waits until it is there."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 700)
        for address in ("about:blank", path.resolve().as_uri() + fragment):  # from one fragment to another nothing would be loaded
            self.events.discard("Page.loadEventFired")
            self.call("Page.navigate", url=address)
            self.wait_for("Page.loadEventFired")

    def wait_for(self, event: str) -> None:
        """Waits until the browser has told of an event of this name."""
        while event not in self.events:
            self.note(self.answer())

    def run(self, script: str) -> Any:
        """The value of an expression in the page; a promise is waited for. A page that reads itself anew meanwhile is asked again."""
        while True:
            try:
                answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
                break
            except Refused as refused:
                if "navigated" not in str(refused):
                    raise
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, *keys: str, shift: bool = False) -> None:
        """Presses keys, one after the other, wherever the focus is."""
        for key in keys:
            text = {"text": "\r"} if key == "Enter" else {"text": " "} if key == " " else {}
            about = {"key": key, "code": {" ": "Space"}.get(key, key), "windowsVirtualKeyCode": KEYS[key], "modifiers": 8 * shift}
            self.call("Input.dispatchKeyEvent", type="keyDown", **about, **text)
            self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def point(self, selector: str, click: bool = False, share: float = 0.5) -> None:
        """Moves the pointer to a share of an element's width and height, its middle, and clicks it."""
        self.run(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
        box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        x, y = self.run(f"(box => [box.x + {share} * box.width, box.y + {share} * box.height])({box})")
        for kind in ("mouseMoved", *(("mousePressed", "mouseReleased") if click else ())):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left" if kind != "mouseMoved" else "none", clickCount=1)

    def picture(self, path: Path, whole: bool = True) -> None:
        """Writes what is seen to a .png file."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser with a new profile in `folder`."""
    found = program()
    assert found is not None
    (read_commands, commands), (answers, write_answers) = os.pipe(), os.pipe()
    placed = f'exec "$@" 3<&{read_commands} 4>&{write_answers}'  # the browser reads 3 and writes 4
    process = subprocess.Popen(
        ["bash", "-c", placed, "bash", found, *FLAGS, f"--user-data-dir={folder}"],
        pass_fds=(read_commands, write_answers),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(read_commands)
    os.close(write_answers)
    try:
        yield Browser(process, commands, answers)
    finally:
        process.kill()
        process.wait()
        os.close(commands)
        os.close(answers)
