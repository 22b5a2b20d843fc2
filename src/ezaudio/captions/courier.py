"""Requests carried by a process of their own, which outlives a killed run by the requests under
way.

A run may be killed at any moment, also between a request and its answer, and that answer has been
paid for. The courier is therefore another process, in a session of its own: when its run
disappears it sends nothing more, waits for the answers that are under way, notes them in the
journal and ends. The next run waits for the journal's lock. What remains is a machine that loses
its power: then at most as many requests as may be under way at once are in doubt, and they are
repeated with the same `Idempotency-Key`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ezaudio
from ezaudio.captions.validation import Rules
from ezaudio.captions.writer import Answer, Attempt, Bench
from ezaudio.errors import EzAudioError

if TYPE_CHECKING:
    from ezaudio.captions.asking import ChatSettings

_GRACE_S = 30.0


@dataclass(frozen=True, slots=True)
class Request:
    """One request to a language model.

    Attributes:
        key: names it, on every machine and in every run.
        system, user: the two parts of the message.
        audio: file that goes with it; empty for none.
        heard_s: most seconds of it, from its start.
    """

    key: str
    system: str
    user: str
    audio: str = ""
    heard_s: float = 0.0


class Courier:
    """The run's end of the line.

    Args:
        chat: the server.
        rules: what an answer has to obey.
    """

    def __init__(self, chat: ChatSettings, rules: Rules) -> None:
        self._timeout_s = chat.timeout_s
        path = os.pathsep.join(
            [str(Path(ezaudio.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        )
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ezaudio.captions.dispatch"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
        self._say(chat=chat.model_dump(mode="json"), rules=rules.model_dump(mode="json"))

    def carry(
        self, wanted: Sequence[tuple[Request, Sequence[Attempt]]], bench: Bench
    ) -> dict[str, Answer]:
        """Send requests, each with the tries that failed before, and wait for all of them.

        Returns:
            Key to answer; those that the budget left over are not finished.

        Raises:
            EzAudioError: the server refuses everything, or the courier died.
        """
        self._say(open=str(bench.journal), requests=bench.most_requests, cost=bench.most_cost)
        heard = self._hear()  # nothing is asked before the journal is open
        for request, failures in wanted if "opened" in heard else ():
            self._say(ask=asdict(request), failures=[asdict(attempt) for attempt in failures])
        self._say(close=True)
        answers: dict[str, Answer] = {}
        while True:
            if "fatal" in heard:
                raise EzAudioError(heard["fatal"])
            if heard.get("closed"):
                return answers
            if "key" in heard:
                answers[heard["key"]] = Answer(
                    heard["text"],
                    tuple(Attempt(**attempt) for attempt in heard["failures"]),
                    model=heard["model"],
                    created=heard["created"],
                    finished=heard["finished"],
                )
            heard = self._hear()

    def close(self) -> None:
        """Let the requests under way end, and wait for that."""
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(self._timeout_s + _GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _say(self, **message: Any) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise EzAudioError("the process that carries the requests has died") from None

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise EzAudioError("the process that carries the requests has died")
        heard: dict[str, Any] = json.loads(line)
        return heard
