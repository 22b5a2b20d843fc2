"""The web server of a listening test, on the standard library alone.

    GET  /                     the page
    GET  /clip/ID.wav          a sound, whole or in ranges, as phones ask for it
    POST /api/join             {code, headphones} -> {listener}
    GET  /api/next?listener=L  the next trial, or that all are done
    POST /api/answer           {listener, trial, ovl, rel, listened_s, spent_s}

A reply to an answer means that it is on the disk. The page keeps what has no reply and sends it
again, so neither a lost connection nor a killed server loses an answer; sending one twice changes
nothing.
"""

from __future__ import annotations

import json
import re
import sqlite3
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from pydantic import Field

from ezaudio.config import Config, load_config
from ezaudio.errors import InputError, OutputError
from ezaudio.evaluation.listening.answers import ANSWERS_FILE, Answer, Answers
from ezaudio.evaluation.listening.study import Study

_PAGE = Path(__file__).with_name("page.html")
_MOST_BODY_BYTES = 10_000
_IDLE_S = 30


class Joining(Config):
    """What a listener says first."""

    code: str = Field(min_length=1, max_length=40, pattern=r"^[\w .@-]+$")
    headphones: bool = False


class Said(Config):
    """What a listener says of a sound."""

    listener: str = Field(max_length=64)
    trial: str = Field(max_length=64)
    ovl: int = Field(ge=1, le=5)
    rel: int = Field(ge=1, le=5)
    listened_s: float = Field(ge=0, le=86_400, allow_inf_nan=False)
    spent_s: float = Field(ge=0, le=86_400 * 30, allow_inf_nan=False)


class Room:
    """What the requests are answered from.

    Args:
        folder: of the study.

    Raises:
        InputError: the folder holds no study.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.study = Study.load(folder)
        self.trials = self.study.by_id()
        self.answers = Answers(folder / ANSWERS_FILE)

    def join(self, body: dict[str, Any]) -> dict[str, Any]:
        """Let a listener in, or in again."""
        said = load_config(Joining, body)
        code = " ".join(said.code.split())
        return {"listener": self.answers.join(code, {"headphones": said.headphones})}

    def next(self, listener: str) -> dict[str, Any]:
        """The first trial of a listener that is not rated yet."""
        code = self._code(listener)
        order = self.study.order_for(code)
        done = self.answers.answered(listener)
        rated = sum(trial.id in done for trial in order)
        left = [trial for trial in order if trial.id not in done]
        if not left:
            return {"done": True, "rated": rated, "total": len(order)}
        trial = left[0]
        following = left[1].id if len(left) > 1 else None
        return {
            "done": False,
            "rated": rated,
            "total": len(order),
            "trial": trial.id,
            "caption": trial.caption,
            "following": following,
        }

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """Keep an answer, and give the next trial."""
        said = load_config(Said, body)
        code = self._code(said.listener)
        if said.trial not in self.trials:
            raise InputError("trial", said.trial, "a trial of this study")
        self.answers.put(
            said.listener,
            Answer(code, said.trial, said.ovl, said.rel, said.listened_s, said.spent_s),
        )
        return self.next(said.listener)

    def _code(self, listener: str) -> str:
        code = self.answers.code_of(listener)
        if code is None:
            raise InputError("listener", listener, "a listener who has joined")
        return code


class Handler(BaseHTTPRequestHandler):
    """One request."""

    room: ClassVar[Room]
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S

    def do_GET(self) -> None:
        """Page, sound, or the next trial."""
        address = urlsplit(self.path)
        clip = re.fullmatch(r"/clip/([0-9a-f]{16})\.wav", address.path)
        if address.path == "/":
            self._send(HTTPStatus.OK, _PAGE.read_bytes(), "text/html; charset=utf-8")
        elif address.path == "/api/study":
            self._json(HTTPStatus.OK, {"title": self.room.study.title})
        elif clip and clip[1] in self.room.trials:
            self._sound(self.room.folder / "clips" / f"{clip[1]}.wav")
        elif address.path == "/api/next":
            listener = parse_qs(address.query).get("listener", [""])[0]
            self._answered(lambda: self.room.next(listener))
        else:
            self._json(HTTPStatus.NOT_FOUND, {"error": "no such page"})

    def do_POST(self) -> None:
        """A listener joins, or answers."""
        actions = {"/api/join": self.room.join, "/api/answer": self.room.answer}
        action = actions.get(urlsplit(self.path).path)
        body = self._body()
        if action is None:
            self._json(HTTPStatus.NOT_FOUND, {"error": "no such page"})
        elif body is None:
            self._json(HTTPStatus.BAD_REQUEST, {"error": "the body must be a JSON object"})
        else:
            self._answered(lambda: action(body))

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: answers are what is kept."""

    def _body(self) -> dict[str, Any] | None:
        try:
            size = int(self.headers.get("Content-Length", "0"))
            if not 0 < size <= _MOST_BODY_BYTES:
                self.close_connection = True
                return None
            values = json.loads(self.rfile.read(size))
        except (ValueError, RecursionError):
            return None
        return values if isinstance(values, dict) else None

    def _answered(self, action: Any) -> None:
        try:
            self._json(HTTPStatus.OK, action())
        except InputError as error:
            status = HTTPStatus.FORBIDDEN if error.field == "listener" else HTTPStatus.BAD_REQUEST
            self._json(status, {"error": str(error), "field": error.field})
        except sqlite3.Error as error:  # not kept: the page will send it again
            self._json(HTTPStatus.SERVICE_UNAVAILABLE, {"error": str(error)})

    def _sound(self, path: Path) -> None:
        content = path.read_bytes()
        span = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if span is None or not (span[1] or span[2]):
            self._send(HTTPStatus.OK, content, "audio/wav", {"Accept-Ranges": "bytes"})
            return
        last = len(content) - 1
        if span[1]:
            start, end = int(span[1]), min(int(span[2] or last), last)
        else:
            start, end = max(0, len(content) - int(span[2])), last
        if start > end:
            where = {"Content-Range": f"bytes */{len(content)}"}
            self._send(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, b"", "audio/wav", where)
            return
        where = {
            "Accept-Ranges": "bytes",
            "Content-Range": f"bytes {start}-{end}/{len(content)}",
        }
        self._send(HTTPStatus.PARTIAL_CONTENT, content[start : end + 1], "audio/wav", where)

    def _json(self, status: HTTPStatus, values: dict[str, Any]) -> None:
        self._send(status, json.dumps(values).encode(), "application/json")

    def _send(
        self, status: HTTPStatus, body: bytes, kind: str, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store" if kind != "audio/wav" else "max-age=86400")
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def open_server(folder: Path, *, host: str = "127.0.0.1", port: int = 8010) -> ThreadingHTTPServer:
    """Open the server of a study; `serve_forever` runs it.

    Raises:
        InputError: the folder holds no study.
        OutputError: the port is taken, or may not be used.
    """
    handler = type("StudyHandler", (Handler,), {"room": Room(folder)})
    try:
        return ThreadingHTTPServer((host, port), handler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"cannot serve on {host}:{port}: {reason}") from None
