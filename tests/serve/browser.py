"""Drives a headless Chromium over the DevTools protocol, by a pipe, with the standard library alone."""
import base64
import fcntl
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
import time

CHROMIUM = os.environ.get("SEER_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
DEADLINE = 60  # seconds after which a test fails if something has not happened
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowDown": 40, "ArrowUp": 38}


def missing():
    """Returns why no browser can be driven here, or None."""
    if not CHROMIUM:
        return "Chromium is not installed (package chromium, or SEER_CHROMIUM)"
    done = subprocess.run([CHROMIUM, "--version"], capture_output=True, text=True, timeout=DEADLINE, check=False)
    return None if done.returncode == 0 else f"{CHROMIUM} does not start: {done.stderr[-300:]}"  # Ubuntu's package needs snapd


class Browser:
    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_read, self.to = os.pipe()
        self.of, to_write = os.pipe()
        # The browser expects the pipes as descriptors 3 and 4. They are first copied to numbers from 20 on, because moving one to 3 or
        # 4 could close the other.
        there = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (to_read, to_write)]
        command = [CHROMIUM, "--headless", "--remote-debugging-pipe", f"--user-data-dir={self.folder.name}", "--no-first-run",
                   "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
                   "--disable-extensions", "--disable-component-update", "--hide-scrollbars", "about:blank"]
        self.log = open(os.path.join(self.folder.name, "log"), "w+b")  # pylint: disable=consider-using-with
        self.process = subprocess.Popen(["bash", "-c", f'exec "$@" 3<&{there[0]} 4>&{there[1]}', "bash", *command],
                                        pass_fds=there, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        env={**os.environ, "HOME": self.folder.name})
        for fd in (to_read, to_write, *there):
            os.close(fd)
        self.lock, self.answers, self.pages, self.n = threading.Lock(), {}, {}, 0
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        waiting = b""
        while piece := os.read(self.of, 1 << 16):
            *messages, waiting = (waiting + piece).split(b"\0")
            for message in map(json.loads, messages):
                if "id" in message:
                    self.answers[message["id"]].put(message)
                elif page := self.pages.get(message.get("sessionId")):
                    page.events.append(message)
        for answer in list(self.answers.values()):
            answer.put({"error": "the browser has ended"})

    def call(self, method, session=None, **parameters):
        with self.lock:
            self.n += 1
            number = self.n
            self.answers[number] = queue.Queue()
            message = {"id": number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
            os.write(self.to, json.dumps(message).encode() + b"\0")
        answer = self.answers[number].get(timeout=DEADLINE)
        del self.answers[number]
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        return answer["result"]

    def open(self, url, **screen):
        return Page(self, url, **screen)

    def close(self):
        try:
            self.call("Browser.close")
        except AssertionError:
            pass
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join(10)
        os.close(self.to)
        os.close(self.of)
        self.log.close()
        self.folder.cleanup()


class Page:
    """A page in a context of its own, which shares no stored data with other pages."""

    def __init__(self, browser, url, width=1280, height=800, dark=False, mobile=False):
        self.browser, self.events = browser, []
        context = browser.call("Target.createBrowserContext")["browserContextId"]
        self.target = browser.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=self.target, flatten=True)["sessionId"]
        browser.pages[self.session] = self
        for domain in ("Page", "Runtime", "Log", "DOM", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def evaluate(self, script):
        done = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise AssertionError(f"{script}: {done['exceptionDetails']}")
        return done["result"].get("value")

    def wait(self, script, what=None):
        """Waits until `script` gives something true, and returns that."""
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until:
            value = self.evaluate(script)
            if value:
                return value
            time.sleep(0.02)
        raise AssertionError(f"did not happen within {DEADLINE} s: {what or script}; the page says: "
                             + str(self.evaluate("document.body.innerText")))

    def text(self, selector):
        return self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")

    def click(self, selector):
        """Clicks at the middle of the element. Fails if something covers it there."""
        at = self.evaluate(f"(() => {{ const e = document.querySelector({json.dumps(selector)}); "
                           "e.scrollIntoView({block: 'nearest'}); const r = e.getBoundingClientRect(); "
                           "const x = r.x + r.width / 2, y = r.y + r.height / 2; "
                           "return e.contains(document.elementFromPoint(x, y)) ? [x, y] : null; })()")
        assert at, f"{selector} cannot be clicked"
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], button="left", clickCount=1)

    def press(self, key, modifiers=0):
        text = {"Enter": "\r", " ": " "}.get(key)
        event = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": KEYS[key], "modifiers": modifiers}
        self.call("Input.dispatchKeyEvent", type="keyDown", **event, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def focused(self):
        return self.evaluate("document.activeElement.id")

    def select(self, selector, value):
        self.evaluate(f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.value = {json.dumps(value)}; "
                      "e.dispatchEvent(new Event('change', {bubbles: true})); })()")

    def choose_file(self, selector, path):
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def complaints(self):
        """Returns everything that went wrong on the page: exceptions, errors and warnings of the console, violated policies."""
        found = []
        for event in self.events:
            method, parameters = event["method"], event["params"]
            if method == "Runtime.exceptionThrown":
                found.append(parameters["exceptionDetails"].get("exception", {}).get("description", "an exception"))
            elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
                found.append(parameters["entry"]["text"])
            elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
                found.append(str(parameters["args"]))
        return found

    def requests(self):
        return [event["params"]["request"]["url"] for event in self.events if event["method"] == "Network.requestWillBeSent"]

    def screenshot(self, path):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))

    def close(self):
        self.browser.call("Target.closeTarget", targetId=self.target)
