#!/usr/bin/env python3
"""Looks at a page of `foveate report` in a real browser: report_in_browser.py PAGE

The page compares full, window and dilated, with perplexity and passkeys at two contexts: what it
shows must have a size, lie within the page and need nothing from outside. Exits with 77 where
chromedriver and chromium are not installed.
"""
import contextlib
import json
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

SKIPPED = 77
MEASURE = """
const box = e => { const r = e.getBoundingClientRect();
                   return {left: r.left, right: r.right, width: r.width, height: r.height}; };
const all = (selector) => [...document.querySelectorAll(selector)];
return {title: document.title, page: document.documentElement.clientWidth,
        tables: all('table').map(box), charts: all('svg').map(box),
        dots: all('svg circle').length, texts: all('svg text').map(e => e.textContent),
        cells: all('td.heat').map(e => [e.textContent, getComputedStyle(e).backgroundColor]),
        requests: performance.getEntriesByType('resource').length};
"""


class Browser:
    """The few commands of the WebDriver protocol that are needed here."""

    def __init__(self, port):
        self.base = f"http://127.0.0.1:{port}"
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,900"]
        options = {"browserName": "chrome", "goog:chromeOptions": {"args": arguments}}
        answer = self.call("/session", {"capabilities": {"alwaysMatch": options}})
        self.session = "/session/" + answer["sessionId"]

    def call(self, path, data=None, method=None):
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(self.base + path, body, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, url):
        self.call(self.session + "/url", {"url": url})

    def run(self, script):
        return self.call(self.session + "/execute/sync", {"script": script, "args": []})

    def quit(self):
        self.call(self.session, method="DELETE")


@contextlib.contextmanager
def browser():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL)
    try:
        for attempt in range(100):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=5)
                break
            time.sleep(0.1)
        opened = Browser(port)
        yield opened
        opened.quit()
    finally:
        driver.terminate()
        driver.wait()


def main():
    if not (shutil.which("chromedriver") and (shutil.which("chromium") or
                                              shutil.which("google-chrome"))):
        sys.exit(SKIPPED)
    with browser() as page:
        page.open(pathlib.Path(sys.argv[1]).resolve().as_uri())
        seen = page.run(MEASURE)
    assert seen["title"] == "Attention compared", seen["title"]
    assert len(seen["tables"]) == 2 + 2 + 3, seen["tables"]  # perplexity, passkey, heat maps
    assert len(seen["charts"]) == 2, seen["charts"]
    for box in seen["tables"] + seen["charts"]:
        assert box["width"] > 50 and box["height"] > 50, box
        assert 0 <= box["left"] and box["right"] <= seen["page"], box
    assert seen["dots"] == 2 * 2 * 3, seen["dots"]  # in the chart and in its key
    for label in ("1 full", "2 window", "3 dilated"):
        assert label in seen["texts"], seen["texts"]
    assert len(seen["cells"]) == 3 * 5 * 2, len(seen["cells"])
    for text, colour in seen["cells"]:
        assert text in ("0/1", "1/1") and colour != "rgba(0, 0, 0, 0)", (text, colour)
    assert seen["requests"] == 0, "the page asks for something from outside"
    print("the report is laid out as it should be")


if __name__ == "__main__":
    main()
