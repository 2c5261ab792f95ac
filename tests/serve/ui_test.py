#!/usr/bin/env python3
"""Uses the server's page as people do, in a headless Chromium."""
import json
import pathlib
import re
import sys
import tempfile
import unittest

import browser
from running_server import Server, eventually

SHIFT = 8  # the bit of the shift key in `modifiers`
ENDLESS = 16000


class InBrowser(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.browser = browser.Browser()
        cls.addClassCleanup(cls.browser.close)
        cls.server = Server()
        cls.addClassCleanup(cls.server.stop)

    def open(self, server=None, **screen):
        page = self.browser.open((server or self.server).url + "/", **screen)
        self.addCleanup(page.close)
        return page

    def ready(self, **screen):
        """Opens the page, waits until it knows its model, and sets it to short, greedy texts."""
        page = self.open(**screen)
        page.wait("document.getElementById('model').textContent.includes('16,384 tokens')")
        page.select("#mode", "text")
        page.evaluate("document.getElementById('max-tokens').value = 8; document.getElementById('temperature').value = 0")
        return page

    def ask(self, page, prompt, button="#send"):
        page.evaluate("document.getElementById('prompt').focus()")
        page.type(prompt)
        page.click(button)
        self.finish(page)

    @staticmethod
    def finish(page):
        page.wait("document.getElementById('stop').disabled && document.querySelectorAll('.answer').length > 0", "an answer ends")

    @staticmethod
    def numbers(page, card=".answer"):
        return page.evaluate(f"Object.fromEntries([...[...document.querySelectorAll('{card}')].pop()"
                             ".querySelectorAll('.numbers div')].map((d) => [d.children[0].innerText, d.children[1].innerText]))")

    def test_an_answer_is_streamed_and_its_numbers_are_shown(self):
        page = self.ready()
        prompt = "It was a bright morning, and the whole village"
        expected = self.server.complete(prompt=prompt, max_tokens=8).json["choices"][0]["text"]
        # Counts how often the text grows: an answer that came whole would grow once.
        page.evaluate("window.grown = 0; new MutationObserver((all) => { for (const m of all) "
                      "if (m.target.matches('.answer .text')) grown += m.addedNodes.length; })"
                      ".observe(document.getElementById('conversation'), {childList: true, subtree: true})")
        self.ask(page, prompt)
        self.assertEqual(page.evaluate("document.querySelector('.answer .text').textContent"), expected)
        self.assertGreaterEqual(page.evaluate("grown"), 4)
        numbers = self.numbers(page)
        self.assertRegex(numbers["Speed"], r"^\d+\.\d tokens/s$")
        self.assertRegex(numbers["First token after"], r"^[\d.]+ m?s$")
        self.assertRegex(numbers["Density"], r"^\d+\.\d% of blocks$")
        self.assertRegex(numbers["Prompt"], r"^1\d tokens$")
        self.assertEqual(numbers["Answer"], "8 tokens")
        self.assertIsNone(page.evaluate("document.querySelector('.answer [aria-live]').getAttribute('aria-busy')"))
        self.assertTrue(page.evaluate("document.querySelector('.answer button').hidden"), "a prompt shorter than a block has no map")
        self.assertIn("finished, 8 tokens", page.text("#status"))
        self.assertEqual(page.complaints(), [])
        self.assertEqual({url for url in page.requests() if not url.startswith((self.server.url + "/", "data:"))}, set())

    def test_a_chat_goes_on_from_its_answers(self):
        page = self.ready()
        page.select("#mode", "chat")
        self.ask(page, "One two three")
        first = page.evaluate("document.querySelector('.answer .text').textContent")
        self.ask(page, "and then")
        sent = [json.loads(event["params"]["request"]["postData"]) for event in page.events
                if event["method"] == "Network.requestWillBeSent" and "postData" in event["params"]["request"]]
        self.assertEqual(sent[-1]["messages"], [{"role": "user", "content": "One two three"}, {"role": "assistant", "content": first},
                                                {"role": "user", "content": "and then"}])
        page.click("#clear")
        self.assertEqual(page.evaluate("document.querySelectorAll('.turn').length"), 0)
        self.assertEqual(page.complaints(), [])

    def test_both_rules_are_asked_side_by_side_and_the_document_with_them(self):
        page = self.ready()
        page.select("#rule", "threshold")
        page.evaluate("document.getElementById('rule-value').value = 0.05")
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "sea.txt")
            text = "The old house by the sea was quiet, and nobody came. " * 60
            path.write_text(text, encoding="utf-8")
            page.choose_file("#file", path)
            page.wait("document.getElementById('document-name').textContent.includes('sea.txt')")
        self.ask(page, "The captain", "#ask-both")
        self.assertEqual(page.evaluate("[...document.querySelectorAll('.answer h2')].map((h) => h.innerText)"),
                         ["Dense dense", "Sparse threshold=0.05"])
        boxes = page.evaluate("[...document.querySelectorAll('.answer')].map((e) => e.getBoundingClientRect())"
                              ".map((r) => [r.left, r.right, r.top])")
        self.assertLess(boxes[0][1], boxes[1][0])
        self.assertEqual(boxes[0][2], boxes[1][2])
        dense, sparse = self.numbers(page, ".answer:first-child"), self.numbers(page, ".answer:last-child")
        n = self.server.post("/tokenize", {"prompt": text + "\n\nThe captain"}).json["count"]
        self.assertEqual(dense["Prompt"], f"{n} tokens" if n < 1000 else f"{n // 1000},{n % 1000:03} tokens")
        self.assertEqual(dense["Density"], "100.0% of blocks")
        self.assertLess(float(sparse["Density"].split("%")[0]), 90)
        page.click("#remove-document")
        self.assertEqual(page.text("#document-name"), "")
        self.assertEqual(page.complaints(), [])

    def test_a_dropped_file_is_the_document_unless_it_is_no_text(self):
        page = self.ready()
        drop = ("((name, bytes) => { const t = new DataTransfer(); t.items.add(new File([new Uint8Array(bytes)], name)); "
                "document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: t, bubbles: true, cancelable: true})); })")
        page.evaluate(f"{drop}('a.txt', [72, 105])")
        page.wait("document.getElementById('document-name').textContent.includes('a.txt: 2 characters')")
        for name, data, reason in (("b.bin", [255, 254, 1], "b.bin is no text in UTF-8"), ("c.bin", [72, 0], "bytes of zero"),
                                   ("d.txt", [], "d.txt is empty")):
            page.evaluate(f"{drop}('{name}', {data})")
            page.wait(f"document.getElementById('document-name').textContent.includes('{reason}')")
        self.assertEqual(page.complaints(), [])

    def test_the_map_of_a_prompt_is_drawn_with_its_axes_named(self):
        page = self.ready()
        # Records the texts that the page draws, because they cannot be read from the canvas.
        page.evaluate("window.written = []; const old = CanvasRenderingContext2D.prototype.fillText; "
                      "CanvasRenderingContext2D.prototype.fillText = function (...a) { written.push(a[0]); return old.apply(this, a); };")
        self.ask(page, "The old house by the sea was quiet, and nobody came. " * 20)
        page.click(".answer button")
        page.wait("document.getElementById('map-facts').textContent.includes('kept')", "the map comes")
        self.assertRegex(page.text("#map-facts"), r"blocks of 64 tokens, threshold=0\.002\. Layer 0, all heads: [\d.]+% kept")
        self.assertIn("A block is 64 tokens", page.text("#map-note"))
        for text in ("block of keys", "block of queries", "share of the blocks kept", "0%", "100%", "0"):
            self.assertIn(text, page.evaluate("written"))
        colors = ("(() => { const c = document.getElementById('map-canvas'); const d = c.getContext('2d')"
                  ".getImageData(0, 0, c.width, c.height * 0.8).data; const s = new Set(); "
                  "for (let i = 0; i < d.length; i += 4) s.add(d.slice(i, i + 4).join()); return s.size; })()")
        self.assertGreater(page.evaluate(colors), 4)
        page.select("#map-show", "score")
        self.assertIn("largest gate score (logarithmic)", page.evaluate("written"))
        page.evaluate("document.getElementById('map-layer').value = 5")
        page.select("#map-head", "3")
        page.wait("document.getElementById('map-facts').textContent.includes('Layer 5, head 3')")
        self.assertIn("layer 5, head 3", page.evaluate("document.getElementById('map-canvas').getAttribute('aria-label')"))
        page.press("Escape")
        page.wait("!document.getElementById('map-dialog').open")
        self.assertEqual(page.complaints(), [])

    def test_html_in_a_prompt_or_an_answer_is_shown_as_text(self):
        page = self.ready()
        hostile = "<img src=x onerror=\"window.hurt=1\"><script>window.hurt=1</script>"
        self.ask(page, hostile)
        self.assertEqual(page.evaluate("document.querySelector('.said .text').textContent"), hostile)
        # HTML in an answer or in an error message is shown as text too.
        page.evaluate("fetch = async () => new Response('data: ' + JSON.stringify({choices: [{text: " + json.dumps(hostile) +
                      "}]}) + '\\n\\ndata: ' + JSON.stringify({error: {message: " + json.dumps(hostile) + "}}) + '\\n\\n')")
        self.ask(page, "x")
        self.assertEqual(page.evaluate("[...document.querySelectorAll('.answer .text')].pop().textContent"), hostile)
        self.assertEqual(page.evaluate("document.querySelector('.failed .hint').textContent"), hostile)
        self.assertEqual(page.evaluate("[window.hurt, document.images.length]"), [None, 0])
        self.assertEqual(page.complaints(), [])
        # The page's policy also forbids its own scripts to insert HTML.
        refused = page.evaluate("(() => { try { document.body.innerHTML = '<p>x</p>'; return false; } catch { return true; } })()")
        self.assertTrue(refused)

    def test_stop_ends_the_generation_on_the_server(self):
        page = self.ready()
        page.evaluate(f"document.getElementById('max-tokens').value = {ENDLESS}")
        before = self.server.metrics()["seer_generations_cancelled_total"]
        page.evaluate("document.getElementById('prompt').focus()")
        page.type("It was")
        page.press("Enter")
        page.wait("document.querySelector('.answer .text') && document.querySelector('.answer .text').textContent.length > 10")
        page.click("#stop")
        page.wait("document.getElementById('status').textContent === 'Stopped.'")
        eventually(lambda: self.server.metrics()["seer_generations_cancelled_total"] == before + 1, "the generation is cancelled")
        eventually(self.server.is_idle, "the server is idle")
        self.assertIn("Stopped", page.text(".answer .hint"))
        self.assertEqual(page.complaints(), [])

    def test_the_keyboard_alone_is_enough(self):
        page = self.ready()
        page.wait("document.activeElement.id === 'prompt'")
        page.type("It was")
        page.press("Enter", SHIFT)
        page.press("Enter")
        self.finish(page)
        self.assertEqual(page.evaluate("document.querySelector('.said .text').textContent"), "It was\n")
        page.type("The captain looked at the grey water and said nothing. " * 8)
        stations = []
        for _ in range(8):
            page.press("Tab")
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            stations.append(page.focused() or page.evaluate("document.activeElement.tagName"))
            self.assertEqual(outline, "solid", f"{stations[-1]} does not show that it has the focus")
        self.assertEqual(stations, ["send", "ask-both", "file", "SUMMARY", "mode", "rule", "max-tokens", "temperature"])
        page.evaluate("document.getElementById('ask-both').focus()")
        page.press(" ")
        page.wait("document.querySelectorAll('.answer').length === 3")
        self.finish(page)
        page.evaluate("document.querySelectorAll('.answer')[2].querySelector('button').focus()")
        self.assertFalse(page.evaluate("document.querySelectorAll('.answer')[2].querySelector('button').hidden"))
        page.press("Enter")
        page.wait("document.getElementById('map-dialog').open")
        page.press("Escape")
        page.wait("!document.getElementById('map-dialog').open")
        self.assertEqual(page.focused() or page.evaluate("document.activeElement.textContent"), "Block map")
        page.evaluate(f"document.getElementById('max-tokens').value = {ENDLESS}; document.getElementById('prompt').focus()")
        page.type("It was")
        page.press("Enter")
        page.wait("!document.getElementById('stop').disabled")
        page.press("Escape")
        page.wait("document.getElementById('status').textContent === 'Stopped.'")
        unnamed = page.evaluate("[...document.querySelectorAll('input, select, textarea')].filter((e) => !e.labels.length)"
                                ".map((e) => e.id)")
        self.assertEqual(unnamed, [])
        self.assertEqual(page.complaints(), [])

    def test_a_phone_needs_no_scrolling_sideways_light_or_dark(self):
        for width, dark in ((320, False), (390, True)):
            page = self.ready(width=width, height=700, dark=dark, mobile=True)
            paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
            self.assertEqual(int(re.findall(r"\d+", paper)[0]) < 128, dark, paper)
            self.ask(page, "The old house by the sea " * 20 + "x" * 300, "#ask-both")
            page.evaluate("document.getElementById('settings').open = true; document.getElementById('rule').focus()")
            wide = page.evaluate("[...document.querySelectorAll('body, body *:not(input, select)')].filter((e) => e.checkVisibility() && "
                                 f"(e.getBoundingClientRect().right > {width} + 0.5 || (e.clientWidth && e.scrollWidth > e.clientWidth)))"
                                 ".map((e) => e.outerHTML.slice(0, 80))")
            self.assertEqual(wide, [])
            self.assertEqual(page.evaluate("document.documentElement.scrollWidth"), width)
            page.evaluate("document.getElementById('settings').open = false")
            page.click(".answer:last-child button")
            page.wait("document.getElementById('map-facts').textContent.includes('kept')")
            self.assertEqual(page.evaluate("document.getElementById('map-dialog').scrollWidth <= "
                                           "document.getElementById('map-dialog').clientWidth"), True)
            self.assertEqual(page.complaints(), [])

    def test_invalid_settings_are_shown_and_not_sent(self):
        page = self.ready(width=390)
        self.assertFalse(page.evaluate("document.getElementById('settings').open"))
        page.evaluate("document.getElementById('temperature').value = 3")
        page.evaluate("document.getElementById('prompt').focus()")
        page.type("x")
        page.press("Enter")
        self.assertTrue(page.evaluate("document.getElementById('settings').open"))
        self.assertEqual(page.evaluate("document.querySelectorAll('.answer').length"), 0)
        page.evaluate("document.getElementById('temperature').value = ''; document.getElementById('max-tokens').value = 16384")
        page.click("#send")
        page.wait("Boolean(document.querySelector('.failed .hint'))")
        self.assertIn("context has 16384 tokens", page.text(".failed .hint"))

    def test_a_key_is_asked_for_and_kept_for_the_tab_alone(self):
        guarded = Server("--api-key", "the-key")
        self.addCleanup(guarded.stop)
        page = self.open(guarded)
        for given, answer in ((None, "This server asks for a key"), ("wrong", "did not take this key")):
            if given:
                page.type(given)
                page.press("Enter")
            page.wait("document.getElementById('key-dialog').open && "
                      f"document.getElementById('key-message').textContent.includes({json.dumps(answer)})")
            self.assertEqual(page.focused(), "key")
        self.assertEqual(page.evaluate("document.getElementById('key').type"), "password")
        page.type("the-key")
        page.press("Enter")
        page.wait("document.getElementById('model').textContent.includes('16,384 tokens')")
        page.select("#mode", "text")
        page.evaluate("document.getElementById('max-tokens').value = 4")
        self.ask(page, "It was")
        self.assertEqual(self.numbers(page)["Answer"], "4 tokens")
        self.assertEqual(page.evaluate("[sessionStorage.length, localStorage.length, document.cookie]"), [1, 0, ""])
        # The browser logs the two answers with 401; there must be no other complaints.
        self.assertEqual([c for c in page.complaints() if "401" not in c], [])
        other = self.open(guarded)
        other.wait("document.getElementById('key-dialog').open")


if __name__ == "__main__":
    if reason := browser.missing():
        print(f"SKIPPED: the server's page was not tried in a browser: {reason}")
        sys.exit()
    unittest.main()
