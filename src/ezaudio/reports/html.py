"""HTML pages that need no other file and no network.

What somebody else wrote, such as a caption, is escaped, and a page forbids the browser every
script but its own and everything from elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ezaudio.audio import encode_audio, resample
from ezaudio.reports.markdown import markdown_html
from ezaudio.reports.plots import Plot, can_draw, inline_svg
from ezaudio.types import Clip

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES = Path(__file__).parent / "templates"
_PLAYED_HZ = 24_000


def html_page(template: str, title: str, *, script: str = "", **values: Any) -> str:
    """Build a page from a template.

    Args:
        template: name of a file in `templates`.
        title: of the page, and its heading.
        script: name of a file in `templates` that the page runs.
        values: what the template shows; text is escaped.
    """
    code = _file(script) if script else ""
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    allowed = [
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "img-src data:",
        "media-src data: file: 'self'",
        *([f"script-src 'sha256-{digest}'"] if code else []),
    ]
    from markupsafe import Markup

    page = (
        _environment()
        .get_template(template)
        .render(
            values,
            title=title,
            policy="; ".join(allowed),
            style=Markup(_file("style.css")),
            script=Markup(code),
            can_draw=can_draw(),
        )
    )
    return page + "\n"


def text_page(title: str, text: str, plots: Sequence[Plot] = ()) -> str:
    """Build a page of a report in Markdown.

    Args:
        title: of the page; the text's own first heading takes its place.
        text: Markdown.
        plots: shown below the title.
    """
    first, _, rest = text.partition("\n")
    if first.startswith("# "):
        title, text = first[2:].strip(), rest
    return html_page("text.html", title, text=text, plots=plots)


def sound_url(clip: Clip, *, most_s: float | None = None) -> str:
    """Give a sound as an MP3 inside an address, for a page's player.

    Args:
        clip: mono, at any rate; it is played at 24 kHz.
        most_s: what is longer is cut.
    """
    count = len(clip.samples) if most_s is None else round(most_s * clip.sample_rate)
    samples = resample(clip.samples[:count], clip.sample_rate, _PLAYED_HZ)
    return data_url(encode_audio(samples, _PLAYED_HZ, format="mp3"), "audio/mpeg")


def data_url(content: bytes, kind: str) -> str:
    """Give a file's content as an address."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["markdown"] = lambda text: Markup(markdown_html(text))
    environment.filters["figure"] = lambda plot: Markup(inline_svg(plot))
    return environment


def _file(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
