"""Language models behind a real HTTP server that misbehaves."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.captions.chat_server import LONGEST_S, Behaviour, Call, Gate, chat_server
from tests.captions.conftest import asking, number_of, run_strong, table

import ezaudio
from ezaudio.captions.executors.job import WorkerFactory
from ezaudio.captions.executors.local import LocalExecutor
from ezaudio.captions.llm.limits import Pace
from ezaudio.captions.store import CaptionSet
from ezaudio.errors import EzAudioError, InputError

Strong = Callable[[int], Path]

MENDED: tuple[Behaviour, ...] = (
    Behaviour(429, "slow down"),
    Behaviour(500, "oops"),
    Behaviour(503, "busy"),
    Behaviour(body=b'{"choices": [{"mess', announced=500),
    Behaviour(hang_up=True),
)
"""What the client repeats by itself."""

REFUSED: dict[str, Behaviour] = {
    "malformed answer": Behaviour(body=b'{"choices": [{"mess'),
    "malformed answer ": Behaviour(body=b'{"choices": []}'),
    "malformed answer  ": Behaviour(body=b"null"),
    "empty answer": Behaviour(text=""),
    "empty answer ": Behaviour(text=None),
    "cut off": Behaviour(text="A dog bar", finish="length"),
    "refusal": Behaviour(text="I'm sorry, but I cannot listen to audio."),
    "refusal ": Behaviour(text="A dog barks.", finish="content_filter"),
    "markup": Behaviour(text="A dog barks <img src=x onerror=alert(1)>"),
    "control characters": Behaviour(text="A dog \u202ebarks loudly \x00 here"),
    "too long": Behaviour(text="woof " * 3000),
    "several sentences": Behaviour(text="A dog barks. Then a door slams."),
    "speech content": Behaviour(text='A man says "please close the door" to a dog.'),
    "speaks about the recording": Behaviour(text="The audio features a dog barking twice."),
    "preamble": Behaviour(text="Sure! Here is a caption about a dog that barks"),
    "language": Behaviour(text="Ein Hund bellt und eine Tür wird zugeschlagen"),
    "times": Behaviour(text="A dog barks at 2.5 seconds and a door slams."),
}


def test_a_server_that_misbehaves_in_every_way_ends_in_a_complete_set(
    tmp_path: Path, strong: Strong
) -> None:
    misdeeds = [*MENDED, *REFUSED.values()]

    def choose(call: Call, times: int) -> Behaviour:
        number = number_of(call.user)
        bad = times == 1 and number < len(misdeeds)
        return misdeeds[number] if bad else Behaviour()

    clips = len(misdeeds) + 2
    with chat_server(choose) as server:
        summary = run_strong(strong(clips), tmp_path / "set", asking(server, concurrency=6))
    assert (summary.captions, summary.without, summary.finished) == (clips, 0, True)
    assert summary.requests == len(server.calls) == clips + len(misdeeds)
    noted = {failure.clip_id: failure for failure in CaptionSet(tmp_path / "set").failures()}
    assert {clip: failure.reason for clip, failure in noted.items()} == {
        f"clip{n}_0": reason.strip() for n, reason in enumerate(REFUSED, start=len(MENDED))
    }
    assert not any(failure.final for failure in noted.values())
    assert all(len(failure.detail) <= 200 for failure in noted.values())


def test_a_server_that_never_answers_is_asked_again(tmp_path: Path, strong: Strong) -> None:
    with chat_server(lambda call, times: Behaviour(silent=times == 1)) as server:
        source = asking(server, timeout_s=0.5, most_tries=30)
        summary = run_strong(strong(2), tmp_path / "set", source)
    assert (summary.captions, summary.without, summary.finished) == (2, 0, True)


def test_a_clip_whose_tries_are_used_up_is_recorded_and_the_others_are_not_held_up(
    tmp_path: Path, strong: Strong
) -> None:
    def choose(call: Call, times: int) -> Behaviour:
        return Behaviour(text="I cannot do that.") if number_of(call.user) == 1 else Behaviour()

    with chat_server(choose) as server:
        source = asking(server, most_tries=3)
        summary = run_strong(strong(3), tmp_path / "set", source)
        again = run_strong(strong(3), tmp_path / "set", source)
        assert len(server.calls) == 5
        retried = run_strong(strong(3), tmp_path / "set", source, retry_failed=True)
    assert (summary.captions, summary.without, summary.finished) == (2, 1, True)
    assert (again.passed_over, again.requests) == (1, 5)
    assert retried.requests == len(server.calls) == 8
    failures = list(CaptionSet(tmp_path / "set").failures())
    assert [(f.reason, f.attempt, f.final) for f in failures] == [
        ("refusal", 1, False), ("refusal", 2, False), ("refusal", 3, True),
    ]  # fmt: skip


def test_a_clip_at_which_the_server_fails_keeps_its_tries_for_another_run(
    tmp_path: Path, strong: Strong
) -> None:
    with chat_server(lambda call, times: Behaviour(500, "oops")) as server:
        source = asking(server, most_tries=2)
        summary = run_strong(strong(1), tmp_path / "set", source)
        assert (summary.without, summary.reasons, summary.requests) == (1, {"HTTP 500": 1}, 2)
        server.choose = lambda call, times: Behaviour()
        summary = run_strong(strong(1), tmp_path / "set", source, retry_failed=True)
    assert (summary.captions, len(server.calls)) == (1, 3)


def test_the_servers_wish_to_wait_holds_every_request(
    tmp_path: Path, strong: Strong, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[float] = []
    monkeypatch.setattr(Pace, "hold", lambda pace, seconds: held.append(seconds))

    def choose(call: Call, times: int) -> Behaviour:
        first = len(server.calls) == 1
        return Behaviour(429, "wait", {"retry-after-ms": "20"}) if first else Behaviour()

    with chat_server(choose) as server:
        run_strong(strong(4), tmp_path / "set", asking(server))
    assert held == [0.02]


def test_no_more_requests_are_under_way_than_allowed(tmp_path: Path, strong: Strong) -> None:
    together = threading.Barrier(3)

    def choose(call: Call, times: int) -> Behaviour:
        together.wait(LONGEST_S)  # breaks when fewer than three are under way at once
        return Behaviour(delay_s=0.02)

    with chat_server(choose) as server:
        run_strong(strong(12), tmp_path / "set", asking(server, concurrency=3))
    assert server.most_at_once == 3
    assert len(server.calls) == 12


@pytest.mark.parametrize(
    ("status", "text", "told"),
    [
        (401, "bad key", "refuses the API key"),
        (404, "no such model", "does not know the model"),
        (429, "insufficient_quota", "no quota left"),
    ],
)
def test_what_no_retry_can_mend_ends_the_run_in_one_line(
    tmp_path: Path, strong: Strong, status: int, text: str, told: str
) -> None:
    with (
        chat_server(lambda call, times: Behaviour(status, text)) as server,
        pytest.raises(EzAudioError, match=told),
    ):
        run_strong(strong(50), tmp_path / "set", asking(server, concurrency=2))
    assert len(server.calls) <= 2
    with chat_server() as server:  # nothing was used up
        assert run_strong(strong(50), tmp_path / "set", asking(server)).captions == 50


def test_a_request_that_is_refused_for_one_clip_is_not_repeated(
    tmp_path: Path, strong: Strong
) -> None:
    with chat_server(lambda call, times: Behaviour(400, "too odd")) as server:
        summary = run_strong(strong(2), tmp_path / "set", asking(server))
    assert len(server.calls) == 2
    assert summary.reasons == {"HTTP 400": 2}


def test_a_server_that_is_down_ends_the_run_and_nothing_is_lost(
    tmp_path: Path, strong: Strong
) -> None:
    def choose(call: Call, times: int) -> Behaviour:
        return Behaviour() if len(server.calls) <= 5 else Behaviour(503, "down")

    with chat_server(choose) as server:
        source = asking(server, concurrency=1, give_up_after=4, most_tries=20)
        with pytest.raises(
            EzAudioError, match="4 requests in a row failed, the last with HTTP 503"
        ):
            run_strong(strong(20), tmp_path / "set", source)
        server.choose = lambda call, times: Behaviour()
        summary = run_strong(strong(20), tmp_path / "set", source)
    assert summary.captions == 20
    assert len(server.calls) == 5 + 4 + 15


def test_a_server_that_is_not_there_is_given_up_soon_and_uses_up_no_try(
    tmp_path: Path, strong: Strong
) -> None:
    with chat_server() as server:
        address = server.url
    with pytest.raises(EzAudioError, match=r"3 requests in a row failed.*connection failed"):
        run_strong(strong(1), tmp_path / "set", asking(address))
    with chat_server() as server:
        there = asking(server, most_tries=1)
        summary = run_strong(strong(1), tmp_path / "set", there)
    assert (summary.captions, len(server.calls)) == (1, 1)


def test_a_budget_of_requests_is_kept_and_a_larger_one_goes_on(
    tmp_path: Path, strong: Strong
) -> None:
    with chat_server() as server:
        first = run_strong(strong(10), tmp_path / "set", asking(server), max_requests=4, chunk=3)
        assert (len(server.calls), first.requests) == (4, 4)
        assert (first.captions, first.finished) == (4, False)
        second = run_strong(strong(10), tmp_path / "set", asking(server), max_requests=99, chunk=3)
    assert (second.captions, second.finished, len(server.calls)) == (10, True, 10)
    assert {call.user for call in server.calls} == set(server.times)


def test_a_budget_of_requests_counts_those_that_the_client_repeats(
    tmp_path: Path, strong: Strong
) -> None:
    with chat_server(lambda call, times: Behaviour(429, "slow down")) as server:
        summary = run_strong(strong(10), tmp_path / "set", asking(server), max_requests=7)
    assert summary.requests == len(server.calls) == 7
    assert (summary.captions, summary.finished) == (0, False)


class Ahead(LocalExecutor):
    """Takes all tasks before the first is done, as a cluster does."""

    @property
    def ahead(self) -> bool:
        return True

    def run(self, job: WorkerFactory[Any, Any], tasks: Iterable[Any]) -> Iterator[Any]:
        return super().run(job, list(tasks))


def test_a_budget_that_is_divided_in_advance_is_used_up_in_rounds_and_not_passed(
    tmp_path: Path, strong: Strong
) -> None:
    """Two requests are set aside for each clip, of which most need one."""
    inputs = strong(10)
    with chat_server() as server:
        for budget, calls in ((7, 7), (7, 7), (20, 10)):
            summary = run_strong(
                inputs, tmp_path / "set", asking(server), max_requests=budget, chunk=3,
                executor=Ahead(),
            )  # fmt: skip
            assert (summary.captions, summary.requests, len(server.calls)) == (calls,) * 3
            assert summary.finished == (calls == 10)
    assert summary.passed_over == 2


def test_a_budget_of_money_is_never_passed(tmp_path: Path, strong: Strong) -> None:
    cost = (100 * 10.0 + 10 * 20.0) / 1e6  # what the server says that each request took
    with chat_server() as server:
        summary = run_strong(strong(10), tmp_path / "set", asking(server), max_cost=6.5 * cost)
    assert 0 < summary.cost <= 6.5 * cost
    assert summary.cost == pytest.approx(len(server.calls) * cost)
    assert 3 <= len(server.calls) <= 6
    assert not summary.finished


def test_another_prompt_asks_anew_and_the_old_one_costs_nothing_again(
    tmp_path: Path, strong: Strong
) -> None:
    prompt = tmp_path / "mine.txt"
    prompt.write_text("[user]\nSay this: {events}")
    with chat_server() as server:
        usual = asking(server)
        run_strong(strong(3), tmp_path / "set", usual)
        run_strong(strong(3), tmp_path / "set", {**usual, "prompt": str(prompt)})
        assert len(server.calls) == 6
        summary = run_strong(strong(3), tmp_path / "set", usual)
    assert (len(server.calls), summary.captions) == (6, 3)


def test_clips_that_come_later_cost_only_themselves(tmp_path: Path, strong: Strong) -> None:
    with chat_server() as server:
        run_strong(strong(5), tmp_path / "set", asking(server), chunk=2)
        text = strong(8).read_text().splitlines(keepends=True)
        path = tmp_path / "strong.tsv"
        path.write_text(text[0] + "".join(text[-6:] + text[1:-6]))  # the new ones come first
        summary = run_strong(path, tmp_path / "set", asking(server), chunk=2)
    assert (summary.captions, len(server.calls)) == (8, 8)


def test_a_server_that_wants_a_key_is_refused_without_one_before_a_folder_is_made(
    tmp_path: Path, strong: Strong, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(InputError, match="OPENAI_API_KEY"):
        run_strong(strong(1), tmp_path / "set", {"writer": "llm"})
    assert not (tmp_path / "set").exists()


def test_a_notebook_whose_loop_runs_already_can_ask(tmp_path: Path, strong: Strong) -> None:
    async def cell(source: dict[str, Any]) -> int:
        return run_strong(strong(2), tmp_path / "set", source).captions

    with chat_server() as server:
        assert asyncio.run(cell(asking(server))) == 2


KILLED = """
import json, sys
from pathlib import Path
from ezaudio.captions.run import RunSettings, label
from ezaudio.captions.executors import executor_from
from ezaudio.captions.sources import source_from
source, inputs, out = json.loads(sys.argv[1])
label(source_from("strong_labels", source), [Path(inputs)], Path(out),
      settings=RunSettings(chunk=10), executor=executor_from("local"))
"""


def test_a_killed_run_goes_on_with_its_answers_and_repeats_only_what_was_under_way(
    tmp_path: Path, strong: Strong
) -> None:
    inputs, gate, concurrency = strong(30), Gate(), 4

    def choose(call: Call, times: int) -> Behaviour:
        gate.wait()
        refused = call.key.endswith("-1") and number_of(call.user) % 3 == 0
        return Behaviour(text="No." if refused else f"A dog barks {number_of(call.user)} times.")

    with chat_server(choose) as server:
        source = asking(server, concurrency=concurrency)
        gate.let_through(18)  # 14 for the first chunk, whose shard is there already
        environment = {**os.environ, "PYTHONPATH": str(Path(ezaudio.__file__).parents[1])}
        arguments = json.dumps([source, str(inputs), str(tmp_path / "set")])
        process = subprocess.Popen([sys.executable, "-c", KILLED, arguments], env=environment)
        gate.wait_until_somebody_waits(concurrency)
        process.kill()
        process.wait()
        gate.let_through(math.inf)
        summary = run_strong(inputs, tmp_path / "set", source, chunk=10)
        assert (summary.captions, summary.finished) == (30, True)
        assert summary.requests == len(server.calls) == 40 + concurrency
        keys = [call.key for call in server.calls]
        assert len(set(keys)) == 40  # those in doubt came again under the same Idempotency-Key
        assert summary.in_doubt == 0
        run_strong(inputs, tmp_path / "whole", asking(server, concurrency=1), chunk=7)
    assert table(tmp_path / "set") == table(tmp_path / "whole")


@pytest.mark.skipif(sys.platform == "win32", reason="no signal can be sent to oneself there")
@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.run cancels all tasks there")
def test_ctrl_c_waits_for_what_is_under_way_and_keeps_it(
    tmp_path: Path, strong: Strong, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, gate = strong(20), Gate()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def choose(call: Call, times: int) -> Behaviour:
        gate.wait()
        return Behaviour()

    def interrupt() -> None:
        gate.wait_until_somebody_waits(2)
        os.kill(os.getpid(), signal.SIGINT)
        gate.let_through(6)  # four were answered, these two are under way

    with chat_server(choose) as server:
        source = asking(server, concurrency=2)
        gate.let_through(4)
        interrupter = threading.Thread(target=interrupt)
        interrupter.start()
        with pytest.raises(KeyboardInterrupt):
            run_strong(inputs, tmp_path / "set", source)
        interrupter.join()
        signal.signal(signal.SIGINT, before)
        assert len(server.calls) == 6
        gate.let_through(math.inf)
        summary = run_strong(inputs, tmp_path / "set", source)
    assert (summary.captions, summary.requests, len(server.calls)) == (20, 20, 20)
