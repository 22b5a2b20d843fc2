"""`ezaudio generate`, with a tiny model."""

from __future__ import annotations

import csv
import errno
import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cli.words import Bytes

from ezaudio.audio import AUDIO_FORMATS, read_audio, read_metadata
from ezaudio.cli.main import run
from ezaudio.cli.progress import fitting, progress_bars
from ezaudio.diffusion import SAMPLERS, TIME_GRIDS, derived_seed


@pytest.fixture
def generate(ezaudio, folder):
    def call(*arguments):
        return ezaudio("generate", *arguments, "--model", folder, "--device", "cpu",
                       "--dtype", "float32")  # fmt: skip

    return call


def files(path="."):
    return sorted(str(p.relative_to(path)) for p in Path(path).rglob("*") if p.is_file())


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_sentence_becomes_a_file(generate):
    code, out, err = generate("a dog barking", "-o", "dog.wav", "--duration", "0.4", "--seed", "5")
    assert (code, out) == (0, "dog.wav\n")
    assert "error" not in err
    assert files() == ["dog.wav"]
    clip = read_audio("dog.wav")
    assert (len(clip.samples), clip.sample_rate) == (9600, 24_000)
    told = read_metadata("dog.wav")
    assert (told["prompt"], told["seed"], told["model"]) == ("a dog barking", 5, "tiny")
    assert len(told["dit_sha256"]) == 64


def test_every_option_arrives(generate):
    code, _, err = generate(
        "rain", "-o", "r.flac", "--steps", 3, "--sampler", "dpmpp-2m", "--grid", "log-snr",
        "--guidance-scale", 2.5, "--guidance-rescale", 0.5, "--guidance-interval", "10:80",
        "--negative-prompt", "music", "--seed", 9, "--duration", 0.25, "--batch-size", 1,
        "--quiet",
    )  # fmt: skip
    assert (code, err) == (0, "")
    told = read_metadata("r.flac")
    wanted = {"steps": 3, "sampler": "dpmpp-2m", "grid": "log-snr", "guidance_scale": 2.5,
              "guidance_rescale": 0.5, "guidance_interval": [10.0, 80.0], "seed": 9,
              "negative_prompt": "music", "duration_s": 0.25}  # fmt: skip
    assert {name: told[name] for name in wanted} == wanted


def test_python_gives_what_the_command_line_gives(generate, model):
    generate("rain", "-o", "r.wav", "--seed", 4, "--eta", 1)
    sound = model.generate("rain", seed=4, eta=1)[0]
    np.testing.assert_allclose(read_audio("r.wav").samples, sound.clip.samples, atol=1 / 65_000)


def test_several_prompts_and_takes_go_into_a_folder(generate):
    code, out, _ = generate("A dog!", "rain", "a dog?", "--num", 2, "--seed", 1, "-o", "out/")
    names = ["a-dog-1.wav", "a-dog-2.wav", "a-dog-3.wav", "a-dog-4.wav", "rain-1.wav", "rain-2.wav"]
    assert code == 0
    assert sorted(out.split()) == [f"out/{name}" for name in names]
    assert files("out") == names
    assert read_metadata("out/a-dog-2.wav")["seed"] == 2
    assert read_metadata("out/a-dog-3.wav")["prompt"] == "a dog?"
    names = [f"out/a-dog-{k}.wav" for k in (1, 2)] + [f"out/rain-{k}.wav" for k in (1, 2)]
    assert out.split() == [*names, "out/a-dog-3.wav", "out/a-dog-4.wav"]  # as in the list


def test_running_again_replaces_nothing_that_was_not_named(generate):
    for _ in range(2):
        assert generate("rain", "--duration", 0.1)[0] == 0
    assert files() == ["rain-2.wav", "rain.wav"]
    assert generate("rain", "--num", 2, "-o", "x.wav", "--duration", 0.1)[0] == 0
    assert files() == ["rain-2.wav", "rain.wav", "x-1.wav", "x-2.wav"]


@pytest.mark.parametrize("format", AUDIO_FORMATS)
def test_the_format_is_chosen_by_name_or_by_ending(generate, format):
    assert generate("rain", "-o", "out/", "--format", format, "--seed", 1)[0] == 0
    assert generate("rain", "-o", f"x.{format}", "--seed", 1)[0] == 0
    for name in (f"out/rain.{format}", f"x.{format}"):
        assert len(read_audio(name).samples) == 12_000
        assert read_metadata(name)["seed"] == 1


def test_a_picture_is_drawn_beside_each_sound(generate):
    pytest.importorskip("matplotlib")
    assert generate("rain", "a dog", "-o", "out/", "--spectrogram", "--duration", 0.2)[0] == 0
    assert files("out") == ["a-dog.png", "a-dog.wav", "rain.png", "rain.wav"]


def test_a_file_of_prompts_sets_each_row(generate):
    rows = [
        {"prompt": "rain", "duration": 0.3, "output": "wet/rain.flac", "seed": 8},
        {"prompt": "a dog", "steps": 1, "num": 2},
        {"prompt": "a bell", "negative_prompt": "hiss"},
    ]
    Path("p.jsonl").write_text("\n".join(map(json.dumps, rows)))
    code, out, _ = generate(
        "--prompts-file", "p.jsonl", "-o", "out", "--duration", 0.2, "--seed", 3
    )
    assert code == 0
    assert sorted(out.split()) == [f"out/{name}" for name in files("out")]
    assert files("out") == ["a-bell.wav", "a-dog-1.wav", "a-dog-2.wav", "wet/rain.flac"]
    told = read_metadata("out/wet/rain.flac")
    assert (told["seed"], told["duration_s"], told["steps"]) == (8, 0.3, 2)
    told = read_metadata("out/a-dog-2.wav")
    second = derived_seed(3, 1, takes=2) + 1
    assert (told["seed"], told["duration_s"], told["steps"]) == (second, 0.2, 1)


def test_a_batch_gives_the_same_sounds_as_single_calls(generate):
    generate("rain", "a dog", "-o", "both/", "--seed", 3)
    own = read_metadata("both/a-dog.wav")["seed"]
    assert own != 3
    generate("a dog", "-o", "alone.wav", "--seed", own)
    one, two = (read_audio(name).samples for name in ("both/a-dog.wav", "alone.wav"))
    np.testing.assert_allclose(one, two, atol=2 / 32768)


def test_progress_is_shown_on_stderr_only_when_wanted(generate, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert generate("rain", "--quiet")[2] == ""
    code, out, _ = generate("rain")
    assert code == 0
    assert out == "rain-2.wav\n"


def test_results_are_printed_in_the_order_of_the_list_whatever_is_ready_first(generate):
    rows = [{"prompt": "a", "steps": 1}, {"prompt": "b", "steps": 2}, {"prompt": "c", "steps": 1}]
    Path("p.jsonl").write_text("\n".join(map(json.dumps, rows)))
    _, out, _ = generate("--prompts-file", "p.jsonl", "-o", "out", "--duration", 0.2)
    assert out.split() == ["out/a.wav", "out/b.wav", "out/c.wav"]


def test_a_list_of_what_was_made_can_be_read_as_a_list_of_clips(generate):
    code, out, _ = generate("a dog, barking", "rain", "-o", "out/", "--num", 2, "--seed", 1,
                            "--duration", 0.2, "--manifest", "lists/made.csv")  # fmt: skip
    assert code == 2  # no folder `lists`
    code, out, _ = generate("a dog, barking", "rain", "-o", "out/", "--num", 2, "--seed", 1,
                            "--duration", 0.2, "--manifest", "made.csv")  # fmt: skip
    rows = rows_of("made.csv")
    assert code == 0
    assert [row["file"] for row in rows] == out.split()
    assert [row["caption"] for row in rows] == ["a dog, barking"] * 2 + ["rain"] * 2
    assert [int(row["seed"]) for row in rows] == [
        read_metadata(row["file"])["seed"] for row in rows
    ]
    assert {row["duration"] for row in rows} == {"0.2"}


def test_results_as_json_are_an_object_a_line(generate):
    _, out, err = generate("a dog", "rain", "-o", "out/", "--seed", 1, "--json", "-q")
    told = [json.loads(line) for line in out.splitlines()]
    assert [row["file"] for row in told] == ["out/a-dog.wav", "out/rain.wav"]
    assert [row["prompt"] for row in told] == ["a dog", "rain"]
    assert told[0]["seed"] == 1 and err == ""


def test_a_sound_goes_to_standard_output(generate, monkeypatch):
    for format in (None, "flac"):
        stdout = Bytes()
        monkeypatch.setattr(sys, "stdout", stdout)
        options = [] if format is None else ["--format", format]
        assert generate("a dog", "-o", "-", "--seed", 1, *options)[0] == 0
        assert stdout.getvalue() == "" and files() == []
        samples, rate = soundfile.read(io.BytesIO(stdout.buffer.getvalue()))
        assert (len(samples), rate) == (12_000, 24_000)


def test_prompts_come_from_standard_input(generate, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Bytes(b"a dog\nrain\n"))
    _, out, _ = generate("--prompts-file", "-", "-o", "out/")
    assert out.split() == ["out/a-dog.wav", "out/rain.wav"]


def test_a_sentence_without_quotes_is_one_prompt(generate):
    for options in (["-o", "x.wav"], [], ["-o", "out/"]):
        code, out, err = generate("a", "dog", "barking", *options, "--duration", 0.2)
        assert (code, len(out.split())) == (0, 1)
        assert read_metadata(out.strip())["prompt"] == "a dog barking"
        assert 'read as one prompt: "a dog barking"' in err
    _, out, err = generate("dog", "rain", "-o", "out/", "--duration", 0.2)
    assert out.split() == ["out/dog.wav", "out/rain.wav"]
    assert "one prompt" not in err


def test_the_empty_prompt_makes_a_sound(generate):
    assert generate("", "-o", "any.wav")[:2] == (0, "any.wav\n")
    assert read_metadata("any.wav")["prompt"] == ""


def test_two_runs_at_once_into_one_folder_keep_both_sounds(generate, monkeypatch):
    from ezaudio.pipelines.results import Sound

    save = Sound.save

    def meanwhile(self, path, **settings):
        if path.name == "rain.wav":
            path.write_bytes(b"of another run")
        return save(self, path, **settings)

    monkeypatch.setattr(Sound, "save", meanwhile)
    assert generate("rain", "-o", "out/")[:2] == (0, "out/rain-2.wav\n")
    assert Path("out/rain.wav").read_bytes() == b"of another run"


@pytest.mark.parametrize("width", [40, 80, 200])
def test_lines_of_progress_fit_the_terminal(width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    bars = progress_bars(facts=True)
    facts = "loss 0.1234 · norm 0.56 · 789 ms · 12 x real time · 345.6 MiB"
    bars.add_task("a rather long name of a stage of training", total=200_000, completed=123_456,
                  facts=facts)  # fmt: skip
    bars.console.file = io.StringIO()
    with bars.console.capture() as shown:
        bars.console.print(bars.make_tasks_table(bars.tasks))
    [line] = shown.get().splitlines()
    assert len(line) <= width
    if width >= 80:
        assert "123456/200000" in line
        assert "loss 0.1234" in line or width == 80
    if width == 200:
        assert line.rstrip().endswith("345.6 MiB")


def test_what_does_not_fit_a_line_is_left_out_as_a_whole():
    assert fitting("loss 1 · norm 2 · 3 ms", 100) == "loss 1 · norm 2 · 3 ms"
    assert fitting("loss 1 · norm 2 · 3 ms", 16) == "loss 1 · norm 2"
    assert fitting("loss 1", 5) == ""


BAD = [
    (["x" * 10_000], "`prompt`"),
    ([], "`prompt`"),
    (["a", "--duration", "nan"], "`--duration`"),
    (["a", "--duration", "inf"], "`--duration`"),
    (["a", "--duration", "-1"], "`--duration`"),
    (["a", "--duration", "0"], "`--duration`"),
    (["a", "--duration", "4.01"], "`--duration`"),
    (["a", "--steps", "0"], "`--steps`"),
    (["a", "--steps", "1001"], "`--steps`"),
    (["a", "--sampler", "dimm"], "did you mean ddim?"),
    (["a", "--grid", "trail"], "did you mean trailing?"),
    (["a", "--seed", "-1"], "`--seed`"),
    (["a", "--seed", "4294967296"], "`--seed`"),
    (["a", "--num", "0"], "`--num`"),
    (["a", "--batch-size", "0"], "`--batch-size`"),
    (["a", "--eta", "2"], "`--eta`"),
    (["a", "--guidance-scale", "nan"], "`--guidance-scale`"),
    (["a", "--guidance-interval", "9"], "`--guidance-interval`"),
    (["a", "--format", "opus"], "`--format`"),
    (["a", "-o", "x.xyz"], "`--output`"),
    (["a dog", "rain", "-o", "x.wav"], "`--output`"),
    (["a dog", "rain", "-o", "-"], "`--output`"),
    (["a", "-o", "-", "--num", "2"], "`--output`"),
    (["a", "-o", "-", "--spectrogram"], "`--spectrogram`"),
    (["a", "-o", "-", "--format", "opus"], "`--format`"),
    (["a", "--fade", "-1"], "`--fade`"),
    (["a", "--loudness", "5"], "`--loudness`"),
    (["a", "--manifest", "/dev/null/x.csv"], "/dev/null"),
    (["a", "-o", "x.wav", "--format", "flac"], "`--format`"),
    (["a", "-o", "missing/x.wav/y.wav", "--prompts-file", "p"], "`--prompts-file`"),
    (["--prompts-file", "missing.txt"], "No such file"),
    (["a", "-o", "/dev/full"], "/dev/full"),
    (["a", "-o", "/proc/x.wav"], "/proc/x.wav"),
    (["a", "-o", "/dev/null/x.wav"], "/dev/null"),
    (["a", "--device", "tpu"], "`--device`"),
    (["a", "--dtype", "float8"], "`--dtype`"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD, ids=[" ".join(a)[:40] for a, _ in BAD])
def test_bad_input_is_one_line_before_the_model_is_loaded(
    ezaudio, folder, monkeypatch, arguments, said
):
    monkeypatch.setattr(
        "ezaudio.pipelines.ezaudio.EzAudio.from_pretrained", lambda *a, **k: pytest.fail("loaded")
    )
    code, out, err = ezaudio("generate", *arguments, "--model", folder)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1
    assert files() == []


@pytest.mark.parametrize("name", ["startr", "/no/where", "."])
def test_an_unknown_model_is_one_line(ezaudio, name):
    code, _, err = ezaudio("generate", "a", "--model", name)
    assert code == 2
    assert err.count("\n") == 1
    assert "did you mean starter?" in err or name != "startr"


def test_a_truncated_checkpoint_is_one_line_and_leaves_nothing(ezaudio, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "m")
    path = tmp_path / "m" / "dit.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    before = files()
    code, _, err = ezaudio("generate", "a", "--model", "m", "-o", "deep/out/")
    assert code == 2
    assert "dit.safetensors" in err
    assert err.count("\n") == 1
    assert files() == before
    assert not Path("deep").exists()


@pytest.mark.parametrize("what", ["sound", "picture"])
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(generate, monkeypatch, what):
    generate("a", "-o", "x.wav", "--seed", 1)
    old = Path("x.wav").read_bytes()
    write = Path.write_bytes
    magic = {"sound": b"RIFF", "picture": b"\x89PNG"}[what]

    def full(self, content):
        if content.startswith(magic):
            write(self, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    code, out, err = generate("b", "-o", "x.wav", "--seed", 2, "--spectrogram", "--quiet")
    assert (code, out) == (2, "")
    assert err.startswith("error: cannot write x.")
    assert "No space left on device" in err
    assert err.count("\n") == 1
    assert files() == ["x.wav"]
    if what == "sound":
        assert Path("x.wav").read_bytes() == old


def test_a_disk_that_cannot_hold_the_sounds_is_found_before_they_are_made(generate, monkeypatch):
    monkeypatch.setattr(
        "ezaudio.pipelines.outputs.shutil.disk_usage", lambda path: type("U", (), {"free": 1000})
    )
    monkeypatch.setattr("ezaudio.pipelines.ezaudio.generate", lambda *a, **k: pytest.fail("it ran"))
    code, _, err = generate("a", "-o", "out/")
    assert code == 2
    assert "0.0 MB are free" in err
    assert not Path("out").exists()


def test_ctrl_c_leaves_what_is_finished_and_nothing_half_written(generate, monkeypatch):
    from ezaudio.pipelines.results import Sound

    save, saved = Sound.save, []

    def interrupted(self, path, **settings):
        if saved:
            raise KeyboardInterrupt
        saved.append(path)
        return save(self, path, **settings)

    monkeypatch.setattr(Sound, "save", interrupted)
    code, out, err = generate(
        "dog", "rain", "-o", "out/", "--quiet", "--manifest", "made.csv", "--batch-size", 1
    )
    assert (code, out) == (130, "out/dog.wav\n")
    assert err == "stopped.\n"
    assert files("out") == ["dog.wav"]
    assert [row["file"] for row in rows_of("made.csv")] == ["out/dog.wav"]


def test_matplotlib_is_looked_for_before_the_work(generate, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(
        "ezaudio.pipelines.ezaudio.EzAudio.from_pretrained", lambda *a, **k: pytest.fail("loaded")
    )
    code, _, err = generate("a", "--spectrogram")
    assert code == 2
    assert "ezaudio[plot]" in err


OPTIONS = {
    "--steps": st.integers(-1, 4),
    "--sampler": st.sampled_from([*SAMPLERS, "euler"]),
    "--grid": st.sampled_from([*TIME_GRIDS, "karras"]),
    "--guidance-scale": st.floats(-1, 10),
    "--guidance-rescale": st.floats(-0.2, 1.2),
    "--guidance-interval": st.sampled_from(["0:90", "20:40", "40:20", "x"]),
    "--eta": st.sampled_from([0.0, 0.5, 1.5]),
    "--seed": st.integers(-1, 2**32),
    "--num": st.integers(0, 3),
    "--duration": st.one_of(st.floats(0, 0.4), st.just(float("nan"))),
    "--negative-prompt": st.text(alphabet="ab \n\0é", max_size=5),
    "--format": st.sampled_from([*AUDIO_FORMATS, "opus"]),
    "--batch-size": st.integers(0, 3),
}


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_options_give_sounds_or_one_line(
    folder, model, tmp_path_factory, capsys, monkeypatch, data
):
    """Exit code 0 with all files, or 2 with one line and none."""
    monkeypatch.setattr("ezaudio.pipelines.ezaudio.EzAudio.from_pretrained", lambda *a, **k: model)
    place = tmp_path_factory.mktemp("run")
    chosen = data.draw(st.lists(st.sampled_from(sorted(OPTIONS)), max_size=5, unique=True))
    values = {name: data.draw(OPTIONS[name], label=name) for name in chosen}
    arguments = [text for name, value in values.items() for text in (f"{name}={value}",)]
    prompt = data.draw(st.text(max_size=8).filter(lambda text: not text.startswith("-")))
    capsys.readouterr()
    code = run(["generate", prompt, "-o", f"{place}/out/", "--quiet", "--model", str(folder),
                *arguments])  # fmt: skip
    out, err = capsys.readouterr()
    if code == 0:
        assert err == ""
        wanted = round(values.get("--duration", 0.5) * 24_000)
        assert len(out.splitlines()) == values.get("--num", 1) == len(files(place))
        for line in out.splitlines():
            clip = read_audio(line)
            assert len(clip.samples) == wanted
            assert np.abs(clip.samples).max() <= 1.0
    else:
        assert code == 2
        assert (out, err.count("\n"), err[:7]) == ("", 1, "error: ")
        assert not (place / "out").exists()
