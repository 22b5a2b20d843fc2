"""A real HTTP server that speaks the OpenAI protocol, and misbehaves as it is told to.

Nothing in it depends on how busy the machine is: who has to wait waits for something that happens,
not for some time.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LONGEST_S = 120.0
GOOD = "A dog barks twice, then a door slams."


@dataclass
class Call:
    """One request as it came."""

    user: str
    system: str
    key: str
    audio: bytes | None
    model: str


@dataclass
class Behaviour:
    """What the server does with one request; `times` counts the requests with the same words."""

    status: int = 200
    text: Any = GOOD
    headers: dict[str, str] = field(default_factory=dict)
    silent: bool = False  # no answer until the server is closed
    delay_s: float = 0.0
    body: bytes | None = None
    announced: int | None = None  # a Content-Length that is not so
    hang_up: bool = False
    finish: str = "stop"


Choose = Callable[[Call, int], Behaviour]


class Gate:
    """Lets the first `limit` that come pass and holds the others."""

    def __init__(self) -> None:
        self.limit: float = 0
        self.came = 0
        self._changed = threading.Condition()

    def wait(self) -> None:
        """Come, and wait to be let through."""
        with self._changed:
            self.came += 1
            mine = self.came
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: mine <= self.limit, LONGEST_S)

    def let_through(self, limit: float) -> None:
        """Raise the limit."""
        with self._changed:
            self.limit = limit
            self._changed.notify_all()

    def wait_until_somebody_waits(self, how_many: int = 1) -> None:
        """Return when so many are held."""
        with self._changed:
            enough = self._changed.wait_for(lambda: self.came >= self.limit + how_many, LONGEST_S)
            assert enough, f"{self.came} came, {self.limit} may pass"


class Listening(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # with five, a busy machine drops connections, for a second or three


class ChatServer:
    """Counts requests and notes them; `choose(call, times)` says how each is answered."""

    def __init__(self, choose: Choose) -> None:
        self.choose = choose
        self.calls: list[Call] = []
        self.times: Counter[str] = Counter()
        self.most_at_once = 0
        self.closing = threading.Event()
        self._at_once = 0
        self._lock = threading.Lock()
        chat = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                pass

            def do_POST(self) -> None:
                with suppress(BrokenPipeError, ConnectionResetError):
                    chat.answer(self)

        self.http = Listening(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        raw = handler.rfile.read(int(handler.headers["Content-Length"]))
        call = read_call(json.loads(raw), handler.headers.get("Idempotency-Key", ""))
        with self._lock:
            self.calls.append(call)
            self.times[call.user] += 1
            times = self.times[call.user]
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            behaviour = self.choose(call, times)
            time.sleep(behaviour.delay_s)
        finally:
            with self._lock:
                self._at_once -= 1
        if behaviour.silent:
            self.closing.wait(LONGEST_S)
        if behaviour.hang_up or behaviour.silent:
            handler.close_connection = True
            handler.connection.close()
            return
        body = behaviour.body
        if body is None:
            body = json.dumps(reply(behaviour, call)).encode()
        handler.send_response(behaviour.status)
        handler.send_header("Content-Type", "application/json")
        length = len(body) if behaviour.announced is None else behaviour.announced
        handler.send_header("Content-Length", str(length))
        soon = {"retry-after-ms": "1"} if behaviour.status >= 400 else {}
        for name, value in {**soon, **behaviour.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)
        if behaviour.announced is not None:
            handler.close_connection = True


def read_call(body: dict[str, Any], key: str) -> Call:
    system = "".join(m["content"] for m in body["messages"] if m["role"] == "system")
    content = next(m["content"] for m in body["messages"] if m["role"] == "user")
    audio = None
    if isinstance(content, list):
        sound = next(part for part in content if part["type"] == "input_audio")["input_audio"]
        assert sound["format"] == "wav"
        audio = base64.b64decode(sound["data"])
        content = "".join(part["text"] for part in content if part["type"] == "text")
    return Call(content, system, key, audio, body["model"])


def reply(behaviour: Behaviour, call: Call) -> dict[str, Any]:
    if behaviour.status >= 400:
        return {"error": {"message": str(behaviour.text), "type": "error", "code": None}}
    message = {"role": "assistant", "content": behaviour.text}
    return {
        "id": "chat-1",
        "object": "chat.completion",
        "created": 1,
        "model": f"{call.model}-2026",
        "choices": [{"index": 0, "message": message, "finish_reason": behaviour.finish}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }


@contextmanager
def chat_server(choose: Choose = lambda call, times: Behaviour()) -> Iterator[ChatServer]:
    server = ChatServer(choose)
    thread = threading.Thread(target=server.http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.http.shutdown()
        server.http.server_close()
        thread.join()
