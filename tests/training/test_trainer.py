"""One loop: log, checkpoints, signals, faults; a killed run repeats the losses of a whole one."""

from __future__ import annotations

import json
import os
import resource
import signal
import time

import pytest
import torch
from tests.training.toys import LineTask, children, killed_at_random, on_two, run_line

from ezaudio.errors import CheckpointError, InputError, OutputError
from ezaudio.training import state
from ezaudio.training.loop.distributed import Engine
from ezaudio.training.loop.divergence import DivergedError
from ezaudio.training.loop.loggers import read_log
from ezaudio.training.loop.trainer import RunConfig, train


def losses(folder):
    return {line["step"]: line["loss"] for line in read_log(folder) if "loss" in line}


def steps_saved(folder):
    return sorted(int(path.name) for path in (folder / "checkpoints").glob("[0-9]*"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    outcome = run_line(folder)
    return folder, outcome


def test_a_run_logs_measures_and_exports(whole):
    folder, outcome = whole
    assert outcome.step == 40 and outcome.stopped_by is None
    assert [path.read_text() for path in outcome.exported] == ["40"]
    log = read_log(folder)
    assert [line["step"] for line in log if "loss" in line] == list(range(1, 41))
    measured = [line for line in log if "valid_loss" in line]
    assert [line["step"] for line in measured] == [7, 14, 21, 28, 35, 40]
    assert outcome.measured["valid_loss"] == pytest.approx(measured[-1]["valid_loss"])
    first = next(line for line in log if "loss" in line)
    assert {"gradient_norm", "rate", "step_s", "seconds", "memory_gib", "sound_s_per_s"} <= {*first}


def test_the_last_two_and_the_best_checkpoint_stay(whole):
    folder, _ = whole
    measured = {x["step"]: x["valid_loss"] for x in read_log(folder) if "valid_loss" in x}
    best = min(measured, key=measured.get)
    assert steps_saved(folder) == sorted({35, 40, best})
    assert (folder / "best" / "line.txt").read_text() == str(best)


def test_the_rate_warms_up_and_falls(whole):
    rates = [line["rate"] for line in read_log(whole[0]) if "rate" in line]
    assert rates[0] == pytest.approx(0.2) and max(rates) == 1.0 and rates[-1] < 0.2


def test_a_run_killed_at_random_moments_repeats_every_loss(whole, tmp_path):
    kills = killed_at_random(
        run_line,
        tmp_path,
        kills=8,
        most_s=0.6,
        resume=True,
        pause_s=0.02,
        log=tmp_path / "log.jsonl",
    )
    assert kills >= 1  # the steps alone take 0.8 s, so the first process never ends by itself
    assert losses(tmp_path) == losses(whole[0])
    measured = [[x for x in read_log(f) if "valid_loss" in x] for f in (tmp_path, whole[0])]
    assert measured[0] == measured[1]


def test_sigterm_saves_and_leaves(whole, tmp_path):
    kwargs = {"pause_s": 0.01, "save_every": 1000}
    process = children().Process(target=run_line, args=(tmp_path,), kwargs=kwargs)
    process.start()
    while not (tmp_path / "log.jsonl").exists() and process.is_alive():
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGTERM)
    process.join(30)
    assert process.exitcode == 0
    (saved,) = steps_saved(tmp_path)
    assert 0 < saved < 40
    assert run_line(tmp_path, resume=True).step == 40
    assert losses(tmp_path) == losses(whole[0])


def test_a_folder_with_checkpoints_is_not_overwritten(whole):
    with pytest.raises(InputError, match="--resume"):
        run_line(whole[0])


def test_resuming_a_complete_run_only_exports(whole):
    folder, outcome = whole
    before = (folder / "log.jsonl").read_bytes()
    assert run_line(folder, resume=True).measured == outcome.measured
    assert (folder / "log.jsonl").read_bytes() == before


def test_a_loss_that_is_no_number_stops_with_a_report_of_the_batch(tmp_path):
    with pytest.raises(DivergedError, match=r"step 9: the loss is nan; batch: step 9 row 0"):
        run_line(tmp_path, poison=9)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["step"] == 9 and report["values"]["loss"] == "nan"
    assert "step 9 row 3" in report["batch"][0]
    assert steps_saved(tmp_path) == [7]


def test_a_loss_that_explodes_stops(tmp_path):
    class Rising(LineTask):
        def step(self, index, rate):
            return {"loss": 1.0 if index < 30 else 11.0}

    engine = Engine()
    with pytest.raises(DivergedError, match="exploded to 11; the highest before was 1"):
        train(Rising(engine), RunConfig(steps=40, tensorboard=False), engine, folder=tmp_path)
    calm = RunConfig(steps=40, tensorboard=False, explode=None)
    assert train(Rising(engine), calm, engine, folder=tmp_path).step == 40


@pytest.mark.parametrize("fault", ["cut", "changed", "gone"])
def test_a_damaged_checkpoint_is_passed_over(whole, tmp_path, fault):
    run_line(tmp_path, steps=28)
    newest = tmp_path / "checkpoints" / "000000028" / "state.pt"
    content = newest.read_bytes()
    middle = len(content) // 2
    if fault == "gone":
        newest.unlink()
    else:
        rest = b"" if fault == "cut" else bytes([content[middle] ^ 1]) + content[middle + 1 :]
        newest.write_bytes(content[:middle] + rest)
    assert run_line(tmp_path, resume=True).step == 40

    # the schedule of a run of 28 steps was another, up to where it began to decay
    assert {s: x for s, x in losses(tmp_path).items() if s < 20} == {
        s: x for s, x in losses(whole[0]).items() if s < 20
    }


def test_without_a_whole_checkpoint_there_is_one_clear_line(tmp_path):
    run_line(tmp_path, steps=7)
    (tmp_path / "checkpoints" / "000000007" / "state.pt").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match="no checkpoint can be resumed from"):
        run_line(tmp_path, resume=True)


def test_a_checkpoint_of_another_task_is_refused(tmp_path):
    run_line(tmp_path, steps=7)

    class Wider(LineTask):
        def __init__(self, engine):
            super().__init__(engine)
            self.network = torch.nn.Linear(5, 5)

    engine = Engine()
    with pytest.raises(CheckpointError, match="does not belong to this run"):
        train(Wider(engine), RunConfig(steps=9), engine, folder=tmp_path, resume=True)


def fill_the_disk(folder):
    """Resume with a limit on the size of files, which the kernel enforces as a full disk does."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    try:
        run_line(folder, resume=True)
    except OutputError as error:
        (folder / "said").write_text(str(error))


def test_a_full_disk_leaves_the_last_good_checkpoint(whole, tmp_path):
    run_line(tmp_path, steps=40, explode=None, hours=None)  # the same run, to stop half way
    for path in (tmp_path / "checkpoints").glob("*"):
        if int(path.name) > 35:
            path.rename(tmp_path / path.name)
    before = {p: p.read_bytes() for p in (tmp_path / "checkpoints").rglob("*.*")}
    process = children().Process(target=fill_the_disk, args=(tmp_path,))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert "cannot " in (tmp_path / "said").read_text()
    assert {p: p.read_bytes() for p in (tmp_path / "checkpoints").rglob("*.*")} == before
    assert run_line(tmp_path, resume=True).step == 40
    assert losses(tmp_path) == losses(whole[0])


def test_a_write_that_fails_half_way_keeps_what_was_saved(tmp_path, monkeypatch):
    run_line(tmp_path, steps=7)

    def torn(states, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state.torch, "save", torn)
    with pytest.raises(OutputError, match="No space left on device; the checkpoints before it"):
        run_line(tmp_path, resume=True)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["000000007"]


def test_hours_end_a_run_too(tmp_path):
    outcome = run_line(tmp_path, steps=10**6, hours=1e-5)
    assert 0 < outcome.step < 1000 and outcome.exported


def test_sounds_and_curves_are_kept_for_listening(tmp_path):
    run_line(tmp_path, steps=4, listen_every=2, tensorboard=True)
    assert (tmp_path / "samples" / "000000004" / "00-a-tone.wav").stat().st_size > 2000
    assert (tmp_path / "samples" / "000000004" / "00-a-tone.png").exists()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert "train/loss" in tags["scalars"] and "valid/loss" in tags["scalars"]
    assert len(events.Scalars("train/loss")) == 4
    assert tags["audio"] == ["samples/a-tone"] and tags["images"] == ["samples/a-tone-mel"]


def test_two_processes_give_the_losses_of_one(whole, tmp_path):
    assert on_two(run_line, tmp_path) == [0, 0]
    ours, theirs = losses(tmp_path), losses(whole[0])
    assert list(ours) == list(theirs)
    assert max(abs(ours[s] - theirs[s]) / theirs[s] for s in theirs) < 1e-4


def test_what_is_best_by_a_measure_that_nobody_takes_is_refused_and_nothing_is_lost(
    whole, tmp_path
):
    with pytest.raises(
        InputError, match=r"`run\.best_by`: got 'loudness'; allowed: one of valid_loss"
    ):
        run_line(tmp_path, best_by="loudness")
    assert steps_saved(tmp_path) == [7]
    assert run_line(tmp_path, resume=True).step == 40
    assert losses(tmp_path) == losses(whole[0])
