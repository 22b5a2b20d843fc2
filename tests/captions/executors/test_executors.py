"""Executors do the same work; Ray does it in a process of its own, with two workers."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.captions.chat_server import Behaviour, Call, chat_server
from tests.captions.conftest import asking, number_of, run_strong, table

import ezaudio
from ezaudio.captions.executors import EXECUTORS, executor_from
from ezaudio.captions.executors.ray import _Actor
from ezaudio.captions.store import CaptionSet
from ezaudio.errors import InputError

Strong = Callable[[int], Path]


class Doubler:
    """Counts its workers and doubles numbers."""

    opened = closed = 0

    def open(self) -> Doubler:
        Doubler.opened += 1
        return self

    def close(self) -> None:
        Doubler.closed += 1

    def __call__(self, task: int) -> int:
        if task < 0:
            raise InputError("task", task, "a number")
        return 2 * task


def test_the_local_executor_takes_a_task_when_the_one_before_is_done() -> None:
    order: list[str] = []

    def tasks() -> Iterator[int]:
        for number in range(3):
            order.append(f"task {number}")
            yield number

    for result in executor_from("local").run(Doubler(), tasks()):
        order.append(f"result {result}")
    assert order == ["task 0", "result 0", "task 1", "result 2", "task 2", "result 4"]


def test_the_local_worker_is_closed_also_after_an_error_and_not_opened_for_nothing() -> None:
    Doubler.opened = Doubler.closed = 0
    assert list(executor_from("local").run(Doubler(), [])) == []
    assert Doubler.opened == 0
    with pytest.raises(InputError):
        list(executor_from("local").run(Doubler(), [1, -1]))
    assert (Doubler.opened, Doubler.closed) == (1, 1)


@pytest.mark.parametrize("name", EXECUTORS)
def test_an_executor_is_named_as_in_the_registry(name: str) -> None:
    assert executor_from(name).kind == name


def test_an_unknown_executor_or_setting_is_refused() -> None:
    with pytest.raises(InputError, match="local, ray"):
        executor_from("threads")
    with pytest.raises(InputError, match="workers"):
        executor_from("local", workers=2)
    with pytest.raises(InputError, match="workers"):
        executor_from("ray", workers=0)


ON_RAY = """
import json, sys
from pathlib import Path
from ezaudio.captions.run import RunSettings, label
from ezaudio.captions.executors import executor_from
from ezaudio.captions.executors.ray import _ray
from ezaudio.captions.sources import source_from

inputs, out, source = json.loads(sys.argv[1])
_ray().init(num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False,
            logging_level="ERROR")  # a GPU of which Ray only keeps count
summary = label(source_from("strong_labels", source), [Path(inputs)], Path(out),
                settings=RunSettings(chunk=4, max_requests=40),
                executor=executor_from("ray", workers=2, cpus=0.5, gpus=0.5))
print(json.dumps([summary.captions, summary.finished, summary.requests]))
"""


@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="the extra `ray` is not installed"
)
def test_ray_with_two_workers_does_what_this_process_does(
    tmp_path: Path, strong: Strong, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Starting Ray is most of the time it takes; rounds and errors are tested without. The actors
    read a prompt and write shards by relative paths, as somebody gives them on the command line.
    """
    inputs = strong(20)
    monkeypatch.chdir(tmp_path)
    Path("mine.txt").write_text("[user]\nSay this: {events}")

    def choose(call: Call, times: int) -> Behaviour:
        return Behaviour(text=f"A dog barks, then sound number {number_of(call.user)} is heard.")

    with chat_server(choose) as server:
        source = {**asking(server), "prompt": "mine.txt"}
        arguments = json.dumps([str(inputs), "ray", source])
        done = subprocess.run(
            [sys.executable, "-c", ON_RAY, arguments],
            env={**os.environ, "PYTHONPATH": str(Path(ezaudio.__file__).parents[1])},
            capture_output=True,
            text=True,
            timeout=500,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1]) == [20, True, 20]
        again = run_strong(inputs, tmp_path / "ray", source, chunk=4)
        assert (again.passed_over, len(server.calls)) == (5, 20)
        run_strong(inputs, tmp_path / "here", source, chunk=4)
    assert all(call.user.startswith("Say this: ") for call in server.calls)
    assert table(tmp_path / "ray") == table(tmp_path / "here")
    assert len(CaptionSet(tmp_path / "ray").parts()) == 5


class Refusing:
    """A job that cannot be opened."""

    def open(self) -> Doubler:
        raise InputError("model_path", "x", "a folder")


def test_an_actor_sends_errors_that_a_person_can_cause_as_values(tmp_path: Path) -> None:
    for number, task in enumerate((2, -1)):
        (tmp_path / str(number)).write_bytes(pickle.dumps(task))
    names = {"task": [str(tmp_path / "0"), str(tmp_path / "1")]}
    found = [
        pickle.loads(row)
        for row in _Actor(pickle.dumps(Doubler()), str(Path.cwd()))(names)["result"]
    ]
    assert found[0] == 4
    assert isinstance(found[1], InputError)
    broken = _Actor(pickle.dumps(Refusing()), str(tmp_path / "absent"))
    (refused, _) = (pickle.loads(row) for row in broken(names)["result"])
    assert str(refused) == "`model_path`: got 'x'; allowed: a folder."


def test_an_actor_starts_where_the_run_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parent)  # where a machine of the cluster happens to be
    _Actor(pickle.dumps(Doubler()), str(tmp_path))
    assert Path.cwd() == tmp_path
