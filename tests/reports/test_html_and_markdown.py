"""Pages: what others wrote cannot become a part of them, and Markdown keeps what it says."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

from ezaudio.reports.html import html_page, sound_url, text_page
from ezaudio.reports.markdown import markdown_html, markdown_table
from ezaudio.types import Clip

HOSTILE = '</title><script>alert("x")</script><img src=http://a.b/x onerror=alert(1)>'


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def named(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.found if tag in names]


def test_what_somebody_wrote_never_becomes_a_part_of_the_page() -> None:
    text = f"# {HOSTILE}\n\n{HOSTILE}\n\n![a](http://a.b/c.png) [b](javascript:alert(1))"
    tags = Tags(text_page("given", text))
    assert not tags.named("script", "img", "iframe", "link")
    assert not [n for _, attributes in tags.found for n in attributes if n.startswith("on")]
    assert not [a for a in tags.named("a") if (a["href"] or "").startswith("javascript")]
    (policy,) = [a["content"] for a in tags.named("meta") if "http-equiv" in a]
    assert (policy or "").startswith("default-src 'none'")
    assert "script-src" not in (policy or "")


def test_a_page_runs_its_own_script_alone() -> None:
    page = html_page("text.html", "x", script="sort.js", text="", plots=())
    script = page[page.index("<script>") + 8 : page.index("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src &#39;sha256-{digest}&#39;" in page


def test_the_heading_of_a_text_is_the_title_of_its_page() -> None:
    page = text_page("given", "# Own & other\n\nText.\n")
    assert "<title>Own &amp; other</title>" in page
    assert page.count("<h1>") == 1
    assert "<title>given</title>" in text_page("given", "Text.\n")


def test_a_table_keeps_its_cells_whatever_they_hold() -> None:
    rows = [("a | b", "1.00 [0.50, 1.50]"), ("two\nlines", "↓ <b>")]
    text = markdown_table(("name", "FD ↓"), rows)
    assert text.splitlines()[:2] == ["| name | FD ↓ |", "| --- | --- |"]
    assert len(text.splitlines()) == 4
    cells = re.findall("<td>(.*?)</td>", markdown_html(text))
    assert cells == ["a | b", "1.00 [0.50, 1.50]", "two lines", "↓ &lt;b&gt;"]


def test_a_wide_table_scrolls_by_itself() -> None:
    page = markdown_html(markdown_table(("a", "b"), [("1", "2")]))
    assert re.fullmatch(r'<div class="scroll"><table>.*</table></div>\s*', page, re.S)


def test_a_sound_in_a_page_is_cut_and_played_at_a_rate_that_mp3_has() -> None:
    import io

    import numpy as np
    import soundfile

    clip = Clip(np.sin(np.arange(22_050 * 3) / 20).astype(np.float32) * 0.5, 22_050)
    kind, _, data = sound_url(clip, most_s=1.0).partition(",")
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(data)))
    assert (kind, rate) == ("data:audio/mpeg;base64", 24_000)
    assert abs(len(samples) / rate - 1.0) < 0.1
