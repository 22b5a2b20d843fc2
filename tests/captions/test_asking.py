"""Language models behind a real HTTP server that misbehaves."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.captions.chat_server import LONGEST_S, Behaviour, Call, Gate, chat_server
from tests.captions.conftest import asking, number_of, run_strong, table

import ezaudio
from ezaudio.captions.answers import Answers
from ezaudio.captions.executors.job import Job
from ezaudio.captions.executors.local import LocalExecutor
from ezaudio.captions.shards import CaptionSet
from ezaudio.errors import EzAudioError

Strong = Callable[[int], Path]

MISDEEDS: dict[str, Behaviour] = {
    "HTTP 429": Behaviour(429, "slow down", {"Retry-After": "0.2"}),
    "HTTP 500": Behaviour(500, "oops"),
    "HTTP 503": Behaviour(503, "busy", {"retry-after-ms": "50"}),
    "malformed answer": Behaviour(body=b'{"choices": [{"mess'),
    "connection failed": Behaviour(body=b'{"choices": [{"mess', announced=500),
    "malformed answer ": Behaviour(body=b'{"choices": []}'),
    "malformed answer  ": Behaviour(body=b"null"),
    "connection failed ": Behaviour(hang_up=True),
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
    misdeeds = list(MISDEEDS.items())

    def choose(call: Call, times: int) -> Behaviour:
        number = number_of(call.user)
        bad = times == 1 and number < len(misdeeds)
        return misdeeds[number][1] if bad else Behaviour()

    clips = len(misdeeds) + 2
    with chat_server(choose) as server:
        summary = run_strong(strong(clips), tmp_path / "set", asking(server, concurrency=6))
    assert (summary.captions, summary.without, summary.finished) == (clips, 0, True)
    assert summary.requests == len(server.calls) == clips + len(misdeeds)
    noted = {failure.clip_id: failure for failure in CaptionSet(tmp_path / "set").failures()}
    assert {f"clip{n}_0": reason.strip() for n, (reason, _) in enumerate(misdeeds)} == {
        clip: failure.reason for clip, failure in noted.items()
    }
    assert not any(failure.final for failure in noted.values())
    assert all(len(failure.detail) <= 200 for failure in noted.values())


def test_a_server_that_never_answers_is_given_up_and_asked_again(
    tmp_path: Path, strong: Strong
) -> None:
    """A busy machine may run into the time limit more often than it has to: once is enough."""
    with chat_server(lambda call, times: Behaviour(silent=times == 1)) as server:
        source = asking(server, timeout_s=1, most_tries=30)
        summary = run_strong(strong(3), tmp_path / "set", source)
    assert (summary.captions, summary.without, summary.finished) == (3, 0, True)
    assert set(summary.reasons) == {"time-out"}
    assert {f.clip_id for f in CaptionSet(tmp_path / "set").failures()} == {
        f"clip{n}_0" for n in range(3)
    }


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


def test_the_servers_wish_to_wait_holds_every_request(tmp_path: Path, strong: Strong) -> None:
    def choose(call: Call, times: int) -> Behaviour:
        first = len(server.calls) == 1
        return Behaviour(429, "wait", {"Retry-After": "0.5"}) if first else Behaviour()

    with chat_server(choose) as server:
        run_strong(strong(4), tmp_path / "set", asking(server, concurrency=1))
    assert min(moment - server.moments[0] for moment in server.moments[1:]) >= 0.45


def test_no_more_requests_are_under_way_than_allowed(tmp_path: Path, strong: Strong) -> None:
    together = threading.Barrier(3)

    def choose(call: Call, times: int) -> Behaviour:
        together.wait(LONGEST_S)  # breaks when fewer than three are under way at once
        return Behaviour(delay_s=0.05)

    with chat_server(choose) as server:
        run_strong(strong(12), tmp_path / "set", asking(server, concurrency=3))
    assert server.most_at_once == 3
    assert len(server.calls) == 12


def test_requests_keep_to_the_limit_of_the_minute(tmp_path: Path, strong: Strong) -> None:
    with chat_server() as server:
        source = asking(server, requests_per_minute=120, concurrency=8)
        run_strong(strong(3), tmp_path / "set", source)
    answers = Answers(tmp_path / "set" / "answers.sqlite")
    first, _, last = answers.sent_at()
    answers.close()
    # Two pauses of half a second; half of one is left to a machine that lets processes wait.
    assert last - first >= 0.75


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
    nobody = asking(address, backoff_s=0.001, longest_backoff_s=0.001)
    for _ in range(2):
        with pytest.raises(EzAudioError, match=r"5 requests in a row failed.*connection failed"):
            run_strong(strong(1), tmp_path / "set", nobody)
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


class Ahead(LocalExecutor):
    """Takes all tasks before the first is done, as a cluster does."""

    @property
    def ahead(self) -> bool:
        return True

    def run(self, job: Job[Any, Any], tasks: Iterable[Any]) -> Iterator[Any]:
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


KILLED = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may ignore it
import sys
from pathlib import Path
from ezaudio.captions.build import RunSettings, label
from ezaudio.captions.executors import executor_from
from ezaudio.captions.sources import source_from
import json
source, inputs, out, chunk = json.loads(sys.argv[1])
label(source_from("strong_labels", source), [Path(inputs)], Path(out),
      settings=RunSettings(chunk=chunk), executor=executor_from("local"))
"""


def started(source: dict[str, object], inputs: Path, out: Path, chunk: int) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(Path(ezaudio.__file__).parents[1])}
    arguments = json.dumps([source, str(inputs), str(out), chunk])
    return subprocess.Popen([sys.executable, "-c", KILLED, arguments], env=environment)


def stubborn(call: Call, times: int) -> Behaviour:
    """Every third clip is answered at the second try only."""
    number = number_of(call.user)
    if times == 1 and number % 3 == 0:
        return Behaviour(429 if number % 2 else 200, "", {"Retry-After": "0.01"})
    return Behaviour(text=f"A dog barks, then sound number {number} is heard.")


def test_a_run_that_is_killed_ten_times_asks_and_writes_as_one_that_is_not(
    tmp_path: Path, strong: Strong
) -> None:
    """Each run gets a few answers, and is killed while it waits for others."""
    clips, kills = 120, 10
    inputs = strong(clips)
    with chat_server(stubborn) as server:
        run_strong(inputs, tmp_path / "whole", asking(server), chunk=20)
        whole = len(server.calls)
    gate = Gate()

    def choose(call: Call, times: int) -> Behaviour:
        gate.wait()
        return stubborn(call, times)

    with chat_server(choose) as server:
        source = asking(server)
        for kill in range(kills):
            gate.let_through(gate.came + 1 + 5 * kill % 7)
            process = started(source, inputs, tmp_path / "set", 20)
            gate.wait_until_somebody_waits()
            assert process.poll() is None, "it ended before it was killed"
            process.send_signal(signal.SIGKILL)
            process.wait()
        gate.let_through(math.inf)
        before = len(server.calls)
        summary = run_strong(inputs, tmp_path / "set", source, chunk=20)
    assert before < whole - 10
    assert (summary.captions, summary.finished, summary.in_doubt) == (clips, True, 0)
    assert table(tmp_path / "set") == table(tmp_path / "whole")
    assert len(server.calls) == whole == summary.requests
    left, right = (
        [(f.clip_id, f.reason, f.attempt, f.final) for f in CaptionSet(tmp_path / name).failures()]
        for name in ("set", "whole")
    )
    assert left == right
    assert not list((tmp_path / "set" / "journal").glob("*"))


def test_requests_in_doubt_are_repeated_with_the_same_key_and_counted(
    tmp_path: Path, strong: Strong
) -> None:
    """The machine loses its power: the courier dies too, with its requests under way."""
    inputs = strong(4)
    with chat_server(lambda call, times: Behaviour(silent=times == 1)) as server:
        source = asking(server)
        process = started(source, inputs, tmp_path / "set", 10)
        while len(server.calls) < 4:
            assert process.poll() is None
            time.sleep(0.01)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        process.wait()
        answers = Answers(tmp_path / "set" / "answers.sqlite")
        answers.take(tmp_path / "set" / "journal" / "000000.jsonl", wait_s=5)
        assert answers.spent().in_doubt == 4
        answers.close()
        summary = run_strong(inputs, tmp_path / "set", source)
    assert (summary.captions, summary.in_doubt, summary.requests) == (4, 0, 8)
    keys = [call.key for call in server.calls]
    assert sorted(keys[:4]) == sorted(keys[4:])


def test_ctrl_c_waits_for_what_is_under_way_and_keeps_it(tmp_path: Path, strong: Strong) -> None:
    inputs, gate = strong(60), Gate()

    def choose(call: Call, times: int) -> Behaviour:
        gate.wait()
        return Behaviour()

    with chat_server(choose) as server:
        source = asking(server, concurrency=2)
        gate.let_through(4)
        process = started(source, inputs, tmp_path / "set", 30)
        gate.wait_until_somebody_waits(2)
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)  # for the two that are held
        gate.let_through(math.inf)
        assert process.wait(LONGEST_S) != 0
        assert 6 <= len(server.calls) < 60
        assert run_strong(inputs, tmp_path / "set", source, chunk=30).captions == 60
    assert len(server.calls) == 60
