"""`evaluate`, `compare`, `sweep` and `listen` as they are typed."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from tests.evaluation.conftest import FAKE, fake_extractor, write_manifest, write_sounds

from ezaudio.cli.main import run
from ezaudio.evaluation.extractors import EXTRACTORS
from ezaudio.evaluation.protocol import PROTOCOLS


@pytest.fixture(autouse=True)
def fakes(monkeypatch, tmp_path):
    monkeypatch.setitem(EXTRACTORS, "fake", fake_extractor)
    monkeypatch.setitem(PROTOCOLS, "fake", FAKE)
    monkeypatch.setenv("EZAUDIO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    write_sounds(tmp_path / "clips", 7)
    return write_manifest(tmp_path / "clips.csv", tmp_path / "clips")


def test_a_model_is_scored_by_one_command(ezaudio, folder, manifest):
    code, out, err = ezaudio(
        "evaluate", "--model", folder, "--manifest", manifest, "--protocol", "fake",
        "--set", "steps=1", "--seeds", 2, "-o", "out", "-q",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert out.split() == ["out/scores.json", "out/report.md", "out/report.html"]
    row = json.loads(Path("out/scores.json").read_text())["rows"][0]
    assert (row["count"], row["seeds"], row["facts"]["steps"]) == (7, 2, 1)


def test_a_folder_is_scored_against_another(ezaudio, tmp_path):
    made, real = (write_sounds(tmp_path / n, seed=i) for i, n in enumerate(("made", "real")))
    code, out, _ = ezaudio(
        "evaluate", made, "--reference", real, "--protocol", "fake", "-o", "out", "-q"
    )
    assert code == 0
    assert "report.html" in out


def test_shards_are_made_and_then_scored(ezaudio, folder, manifest):
    shared = ["evaluate", "--model", folder, "--manifest", manifest, "--protocol", "fake"]
    shared += ["--set", "steps=1", "-o", "out", "-q"]
    for number in range(2):
        code, out, _ = ezaudio(*shared, "--shard", f"{number}/2")
        assert (code, out) == (0, "")
    assert ezaudio(*shared)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--manifest", "none.csv", "--model", "starter"], "none.csv"),
        (["--model", "starter"], "a manifest"),
        ([], "a folder of sounds, or --model"),
        (["--model", "starter", "--set", "steps", "--manifest", "x.csv"], "NAME=VALUE"),
        (["nowhere"], "nowhere"),
        (["--model", "starter", "--manifest", "starter-order", "--shard", "2/2"], "K/N"),
        (["--model", "starter", "--manifest", "starter-order", "--protocol", "x"], "--protocol"),
        (["--model", "starter", "--manifest", "starter-order", "--weights", "a"], "--weights"),
    ],
)
def test_what_cannot_be_scored_is_one_line_and_nothing_is_written(
    ezaudio, tmp_path, arguments, named
):
    code, out, err = ezaudio("evaluate", *arguments, "-o", "out", "-q")
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert named in err
    assert not list(tmp_path.glob("out/*"))


def test_a_sweep_draws_its_curves(ezaudio, folder, manifest):
    code, out, _ = ezaudio(
        "sweep", "--model", folder, "--manifest", manifest, "--protocol", "fake", "--set",
        "steps=1", "--guidance-scale", "1,3", "--guidance-rescale", "0,0.75", "-o", "out", "-q",
    )  # fmt: skip
    assert code == 0
    assert out.split() == [f"out/sweep.{kind}" for kind in ("json", "md", "html", "svg")]
    assert Path("out/sweep.html").read_text().count("<svg") == 4  # FD, CLAP, KL, KAD
    text = Path("out/sweep.md").read_text()
    assert "| guidance_scale | guidance_rescale |" in text
    assert "| FD ↓ | bias of FD |" in text
    assert "| 3 | 0.75 |" in text
    assert "| 1 | any |" in text
    page = Path("out/sweep.html").read_text()
    assert "<td>any</td>" in page
    assert "<th>bias of FD</th>" in page


def test_a_sweep_is_made_in_shares_and_scored_by_the_same_command(ezaudio, folder, manifest):
    shared = ["sweep", "--model", folder, "--manifest", manifest, "--protocol", "fake"]
    shared += ["--set", "steps=1", "--guidance-scale", "1,3", "-o", "out"]
    for number in range(2):
        code, out, err = ezaudio(*shared, "--shard", f"{number}/2")
        assert (code, out) == (0, "")
        assert "score without --shard" in err
    made = {p: p.stat().st_mtime_ns for p in Path("out").rglob("*.wav")}
    assert len(made) == 14
    assert ezaudio(*shared, "-q")[0] == 0
    assert {p: p.stat().st_mtime_ns for p in Path("out").rglob("*.wav")} == made


def test_what_cannot_be_scored_is_not_made(ezaudio, folder, manifest, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("EZAUDIO_WEIGHTS", raising=False)
    Path("systems.yaml").write_text(f"systems: [{{name: own, model: '{folder}'}}]\n")
    shared = ["--manifest", manifest, "--protocol", "ezaudio-2409.10819", "-o", "out", "-q"]
    for command in (
        ["evaluate", "--model", folder, "--set", "steps=1"],
        ["compare", "systems.yaml"],
        ["sweep", "--model", folder, "--guidance-scale", "1,3"],
    ):
        code, _, err = ezaudio(*command, *shared)
        assert code == 2
        assert "--weights panns-16k=PATH" in err
        assert err.count("\n") == 1
    assert not list(Path("out").rglob("*.wav"))
    panel = "{extractor: clap-general, metrics: [clap]}"
    Path("clap.yaml").write_text(f"name: clap\npanels: [{panel}]\n")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    code, _, err = ezaudio("evaluate", "--model", folder, *shared, "--protocol", "clap.yaml")
    assert code == 2
    assert "--weights clap-general=FOLDER" in err


def test_a_length_that_the_model_cannot_make_leaves_nothing(ezaudio, folder, manifest):
    code, _, err = ezaudio(
        "evaluate", "--model", folder, "--manifest", manifest, "--protocol", "fake",
        "--duration", 1000, "-o", "out", "-q",
    )  # fmt: skip
    assert code == 2
    assert "`--duration`: got 1000" in err
    assert not list(Path("out").iterdir())


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{kind: ezaudio, name: a, modl: x}", "systems[1].modl"),
        ("{kind: oracle, name: a}", "systems[1].kind"),
        ("{kind: folder, name: a}", "systems[1].folder"),
    ],
)
def test_a_wrong_entry_of_a_file_of_systems_is_named_by_its_place(ezaudio, manifest, text, named):
    Path("systems.yaml").write_text(f"systems: [{{name: starter}}, {text}]\n")
    code, _, err = ezaudio("compare", "systems.yaml", "--manifest", manifest, "-o", "out", "-q")
    assert (code, err.count("\n")) == (2, 1)
    assert f"`{named}`" in err
    assert not Path("out").exists()


def test_an_output_that_is_a_file_is_one_line(ezaudio, folder, manifest):
    shared = ["--manifest", manifest, "--protocol", "fake", "--set", "steps=1", "-q"]
    assert ezaudio("evaluate", "--model", folder, *shared, "-o", "a")[0] == 0
    Path("taken").write_text("mine")
    for command in (
        ["compare", "a/scores.json", "-o", "taken"],
        ["evaluate", "--model", folder, *shared, "-o", "taken"],
        ["sweep", "--model", folder, "--guidance-scale", "1", *shared, "-o", "taken"],
    ):
        code, _, err = ezaudio(*command)
        assert (code, err.count("\n")) == (2, 1)
    assert Path("taken").read_text() == "mine"


def test_finished_runs_become_the_papers_tables(ezaudio, folder, manifest):
    Path("runs.yaml").write_text(
        f"runs:\n  - {{label: own, model: '{folder}', "
        "columns: {captions: own, mask_modelling: yes}}\n"
    )
    code, _, err = ezaudio(
        "sweep", "runs.yaml", "--manifest", manifest, "--protocol", "fake", "--layout", "table-1",
        "--set", "steps=1", "-o", "out", "-q",
    )  # fmt: skip
    assert (code, err) == (0, "")
    text = Path("out/sweep.md").read_text()
    assert "| captions | mask_modelling |" in text
    assert "| own | yes |" in text
    assert Path("out/sweep.svg").read_text().count("<use") >= 4  # one for each plot


def test_results_of_one_protocol_are_joined_and_others_refused(ezaudio, folder, manifest):
    shared = ["--manifest", manifest, "--protocol", "fake", "--set", "steps=1", "-q"]
    for name in ("a", "b"):
        assert ezaudio("evaluate", "--model", folder, *shared, "-o", name)[0] == 0
    assert ezaudio("compare", "a/scores.json", "b/scores.json", "-o", "both")[0] == 0
    values = json.loads(Path("b/scores.json").read_text())
    Path("b/scores.json").write_text(json.dumps({**values, "hash": "0" * 12}))
    code, _, err = ezaudio("compare", "a/scores.json", "b/scores.json", "-o", "both")
    assert code == 2
    assert "one table has one protocol" in err
    Path("b/scores.json").write_text(json.dumps({**values, "recordings": "0" * 12}))
    code, _, err = ezaudio("compare", "a/scores.json", "b/scores.json", "-o", "both")
    assert code == 2
    assert "the same recordings, as in 1:" in err


def test_entries_for_other_projects_are_printed(ezaudio):
    code, out, _ = ezaudio("compare", "--show-peers")
    assert code == 0
    assert "AudioLDM2Pipeline" in out
    assert "tangoflux.py" in out


def test_a_listening_test_is_built_and_has_no_report_before_answers(ezaudio, manifest, tmp_path):
    write_sounds(tmp_path / "ours", 7, seed=4)
    code, out, err = ezaudio(
        "listen", "build", "study", "--sounds", "ours=ours", "--manifest", manifest,
        "--prompts", 3, "--checks", 1,
    )  # fmt: skip
    assert code == 0
    assert "6 sounds of 2 systems" in err
    assert out == "study\n"
    code, _, err = ezaudio("listen", "report", "study")
    assert code == 2
    assert "at least one answer" in err


def test_a_served_listening_test_ends_cleanly_when_it_is_told_to(ezaudio, manifest, tmp_path):
    write_sounds(tmp_path / "ours", 7, seed=4)
    ezaudio(
        "listen", "build", "study", "--sounds", "ours=ours", "--manifest", manifest,
        "--prompts", 3, "--checks", 1,
    )  # fmt: skip
    listeners: list[bytes] = []

    def visit_and_stop() -> None:
        while "http" not in (said := capture.getvalue()):
            time.sleep(0.02)
        address = said.split()[0]
        with urllib.request.urlopen(address, timeout=30) as page:
            listeners.append(page.read())
        os.kill(os.getpid(), signal.SIGTERM)

    capture, before = io.StringIO(), signal.getsignal(signal.SIGTERM)
    visitor = threading.Thread(target=visit_and_stop)
    try:
        with contextlib.redirect_stdout(capture):
            visitor.start()
            assert run(["listen", "serve", "study", "--port", "0"]) == 130
    finally:
        visitor.join()
        signal.signal(signal.SIGTERM, before)
    assert b"Listening test" in listeners[0]


@pytest.mark.parametrize("arguments", [["dance", "x"], ["serve", "nowhere"], ["build", "x"]])
def test_a_listening_test_that_cannot_be_is_one_line(ezaudio, arguments):
    code, _, err = ezaudio("listen", *arguments)
    assert code == 2
    assert err.count("\n") == 1


@pytest.mark.parametrize("home", ["a file", "none"])
def test_a_cache_that_cannot_be_written_only_costs_time(ezaudio, tmp_path, monkeypatch, home):
    made, real = (write_sounds(tmp_path / n, seed=i) for i, n in enumerate(("made", "real")))
    monkeypatch.delenv("EZAUDIO_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if home == "a file":
        Path("nohome").touch()
        monkeypatch.setenv("HOME", str(tmp_path / "nohome"))
    else:

        def nowhere():
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(Path, "home", nowhere)
    code, _, err = ezaudio("evaluate", made, "--reference", real, "--protocol", "fake", "-o", "o")
    assert code == 0
    assert "--cache or EZAUDIO_CACHE" in err
    assert (
        ezaudio("evaluate", made, "--reference", real, "--protocol", "fake", "-o", "o", "-q")[2]
        == ""
    )


def test_a_cache_that_was_named_and_cannot_be_written_is_one_line(ezaudio, tmp_path):
    made = write_sounds(tmp_path / "made", seed=0)
    Path("file").touch()
    code, _, err = ezaudio("evaluate", made, "--reference", made, "--protocol", "fake", "-o", "o",
                           "--cache", "file/x.sqlite", "-q")  # fmt: skip
    assert (code, err.count("\n")) == (2, 1)
    assert "--cache" in err
