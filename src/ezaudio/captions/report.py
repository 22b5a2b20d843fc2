"""The report: one HTML file that needs no network, with players for 50 random pairs.

Captions are whatever somebody wrote: everything that comes from a set is escaped, and the page
allows neither scripts nor anything from elsewhere.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ezaudio.captions.record import CaptionRecord
from ezaudio.captions.statistics import (
    ORDER_WORDS,
    THRESHOLDS,
    Statistics,
    lower_edge,
    reached,
    statistics_of,
)
from ezaudio.captions.store import CaptionSet
from ezaudio.checkpoints import write_bytes
from ezaudio.errors import EzAudioError, InputError

_PLAYED_S = 10.0
_COMMON_WORDS = 40
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; color: #222;
  padding: 0 1rem; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; margin: .5rem 0 } td, th { padding: .2rem .8rem .2rem 0;
  text-align: left; vertical-align: top } td.n { text-align: right; font-variant-numeric:
  tabular-nums }
svg { display: block; max-width: 100% } .small { color: #666; font-size: .85em }
.pair { border-top: 1px solid #ddd; padding: .6rem 0 } audio { height: 2rem; vertical-align: middle
} .flag { background: #fde9c8; padding: 0 .3rem }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; media-src data: file: 'self'"


def write_report(
    source: Path, target: Path, *, audio_root: str = "", pairs: int = 50, seed: int = 0
) -> Statistics:
    """Write the report of a caption set.

    Args:
        source: folder of the set.
        target: the HTML file.
        audio_root: folder of the sound files; empty takes what the set says.
        pairs: random pairs with players; their sounds, at most 10 s each, are inside the file.
        seed: chooses the pairs.

    Raises:
        InputError: there is no caption set, or a number of pairs below zero was given.
        OutputError: the file cannot be written.
    """
    if pairs < 0:
        raise InputError("pairs", pairs, "0 or more")
    given = CaptionSet(source)
    given.require()
    card = given.read_card()
    found = statistics_of(
        given.records(), given.failures(), pairs=pairs, generator=np.random.default_rng(seed)
    )
    root = Path(audio_root or card.get("audio_root", "") or ".")
    title = f"Captions: {source.name}"
    body = [
        f"<h1>{_safe(title)}</h1>",
        _summary(found),
        _counted("By source", found.by_source, found.captions),
        _scores(found, card),
        _lengths(found),
        _order(found),
        _vocabulary(found),
        _counted("Languages", found.by_language, found.captions),
        _counted("Licences", found.by_licence, found.captions),
        _counted("What gave no caption, or was noticed", found.reasons, None),
        _pairs(found.pairs, root),
    ]
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{_safe(title)}</title><style>{_STYLE}</style></head><body>"
        + "\n".join(body)
        + "</body></html>\n"
    )
    write_bytes(target, page.encode("utf-8", "replace"))
    return found


def _safe(text: object) -> str:
    return html.escape(str(text), quote=True)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


def _summary(found: Statistics) -> str:
    mean = found.words / found.captions if found.captions else 0.0
    return (
        f"<p>{found.captions:,} captions of {found.clips:,} clips; {mean:.1f} words each; "
        f"{len(found.vocabulary):,} different words; {found.profane:,} flagged as profane.</p>"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    top = "".join(f"<th>{_safe(name)}</th>" for name in head)
    cells = (
        "".join(
            f"<td{' class=n' if isinstance(value, int) else ''}>"
            f"{f'{value:,}' if isinstance(value, int) else _safe(value)}</td>"
            for value in row
        )
        for row in rows
    )
    return f"<table><tr>{top}</tr>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>"


def _counted(title: str, counts: dict[str, int], whole: int | None) -> str:
    if not counts:
        return ""
    ordered = sorted(counts.items(), key=lambda pair: -pair[1])[:_COMMON_WORDS]
    if whole is None:
        return f"<h2>{title}</h2>" + _table(("", "count"), ordered)
    rows = [(name, count, _share(count, whole)) for name, count in ordered]
    return f"<h2>{title}</h2>" + _table(("", "captions", "share"), rows)


def _scores(found: Statistics, card: Mapping[str, Any]) -> str:
    """Histogram and table; of a filtered set over all pairs that were scored, not those it kept."""
    bins, by_source = found.scores, found.scores_by_source
    title, about = "CLAP scores", ""
    if card.get("source") == "filter" and "by_source" in card.get("counts", {}):
        counts = card["counts"]
        bins, by_source = counts["histogram"], counts["by_source"]
        threshold = card["settings"]["threshold"]
        title = "CLAP scores before the filter"
        about = (
            f"<p>{sum(bins):,} pairs were scored and {counts['kept']:,} kept, at {threshold:.2f}; "
            f"{counts['without']:,} had no sound that can be read.</p>"
        )
    scored = sum(bins)
    if not scored:
        return f"<h2>CLAP scores</h2><p>None: <code>ezaudio caption filter</code>.</p>{about}"
    labels = [f"{lower_edge(index):.2f}" for index in range(len(bins))]
    rows = [
        (f"{threshold:.2f}", kept := reached(bins, threshold), _share(kept, scored))
        for threshold in THRESHOLDS
    ]
    each = [
        f'<p class="small">{_safe(source)}: {sum(own):,} pairs</p>'
        + _bars(own, labels, every=4, height=60)
        for source, own in sorted(by_source.items())
        if len(by_source) > 1
    ]
    table = _table(("threshold", "pairs at or above", "share"), rows)
    return f"<h2>{title}</h2>{about}" + _bars(bins, labels, every=4) + table + "".join(each)


def _lengths(found: Statistics) -> str:
    last = max((i for i, count in enumerate(found.lengths) if count), default=0)
    counts = found.lengths[: last + 1]
    return "<h2>Words in a caption</h2>" + _bars(counts, [str(i) for i in range(last + 1)], every=5)


def _order(found: Statistics) -> str:
    counts = [(name, found.order[name]) for name in ORDER_WORDS]
    rows = [(name, count, _share(count, found.captions)) for name, count in counts]
    rows.append(("any of them", found.any_order, _share(found.any_order, found.captions)))
    return "<h2>Words of order</h2>" + _table(("", "captions", "share"), rows)


def _vocabulary(found: Statistics) -> str:
    common = found.vocabulary.most_common(_COMMON_WORDS)
    words = ", ".join(f"{_safe(word)} ({count:,})" for word, count in common)
    return f'<h2>Most frequent words</h2><p class="small">{words}</p>'


def _bars(counts: Sequence[int], labels: Sequence[str], *, every: int, height: int = 160) -> str:
    """Draw a histogram as SVG."""
    width, most = 720, max(counts, default=0) or 1
    step = width / max(1, len(counts))
    parts = [f'<svg viewBox="0 0 {width} {height + 24}" width="{width}" role="img">']
    for index, (count, label) in enumerate(zip(counts, labels, strict=True)):
        tall = height * count / most
        parts.append(
            f'<rect x="{index * step:.1f}" y="{height - tall:.1f}" width="{0.9 * step:.1f}" '
            f'height="{tall:.1f}" fill="#4878a8"><title>{_safe(label)}: {count:,}</title></rect>'
        )
        if index % every == 0:
            at = f'x="{index * step:.1f}" y="{height + 16}"'
            parts.append(f'<text {at} font-size="11">{_safe(label)}</text>')
    return "".join([*parts, "</svg>"])


def _pairs(records: Sequence[CaptionRecord], root: Path) -> str:
    if not records:
        return ""
    shown = "".join(_pair(record, root) for record in records)
    return f"<h2>{len(records)} random pairs</h2>{shown}"


def _pair(record: CaptionRecord, root: Path) -> str:
    score = "" if record.score is None else f" · CLAP {record.score:.2f}"
    flags = '<span class="flag">profane</span>' if record.profane else ""
    about = f"{record.clip_id} · {record.source} · {record.model}{score} · {record.licence}"
    return (
        f'<div class="pair">{_player(record, root)} {_safe(record.caption)} {flags}'
        f'<div class="small">{_safe(about)}</div></div>'
    )


def _player(record: CaptionRecord, root: Path) -> str:
    """Put the sound's first seconds into the page."""
    if not record.audio:
        return '<span class="small">(no sound file)</span>'
    from ezaudio.audio import encode_audio, read_audio

    try:
        clip = read_audio(root / record.audio)
        samples = clip.samples[: round(_PLAYED_S * clip.sample_rate)]
        data = base64.b64encode(encode_audio(samples, clip.sample_rate, format="ogg")).decode()
    except EzAudioError:
        return '<span class="small">(sound file not readable)</span>'
    return f'<audio controls preload="none" src="data:audio/ogg;base64,{data}"></audio>'
