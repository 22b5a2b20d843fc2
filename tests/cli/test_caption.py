"""`ezaudio caption`: every command, one run in one go, and what is said when something is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.captions.chat_server import Behaviour, ChatServer, chat_server
from tests.captions.test_dedup import sound
from tests.tiny_clap import write_tiny_clap

from ezaudio.audio import write_audio
from ezaudio.captions.sources import SOURCES
from ezaudio.captions.store import CaptionSet
from ezaudio.data.manifest import read_manifest

HEADER = "segment_id\tstart_time_seconds\tend_time_seconds\tlabel\n"


@pytest.fixture
def strong(tmp_path: Path) -> Path:
    rows = [f"clip{n}\t{s}\t{s + 1}\t{name}\n" for n in range(3)
            for s, name in ((0.2, "Bark"), (2.0, "Rain"))]  # fmt: skip
    (tmp_path / "strong.tsv").write_text(HEADER + "".join(rows))
    return Path("strong.tsv")


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server(lambda call, times: Behaviour(text="A dog barks, then rain falls.")) as found:
        yield found


def test_one_command_goes_from_labels_to_a_manifest(ezaudio, strong: Path, tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    for number in range(3):
        write_audio(tmp_path / "audio" / f"clip{number}.wav", sound(number // 2, 0.5), 24_000)
    clap = write_tiny_clap(tmp_path / "clap")
    code, out, err = ezaudio(
        "caption", "run", "strong_labels", strong, "-o", "set", "--audio", "audio",
        "--files", "{clip}.wav", "--sounds", "exact", "--clap", clap,
        "--threshold", "-1", "--report", "report.html", "--manifest", "list.csv", "--json",
    )  # fmt: skip
    assert (code, err.splitlines()[-1]) == (0, "report: report.html")
    said = [json.loads(line) for line in out.splitlines()]
    assert said[0]["captions"] == 3
    assert said[1]["reasons"]["duplicate audio"] == 1
    assert said[2]["pairs"] == said[2]["kept"] == said[1]["kept"]
    assert (said[3]["clips"], said[3]["without_audio"]) == (2, 0)
    rows = read_manifest(tmp_path / "list.csv")
    assert [row.file for row in rows] == ["audio/clip0.wav", "audio/clip2.wav"]
    assert (tmp_path / "report.html").stat().st_size > 5000
    assert all(
        record.score is not None for record in CaptionSet(tmp_path / "set/filtered").records()
    )


def test_the_steps_can_be_taken_one_by_one(ezaudio, strong: Path, tmp_path: Path) -> None:
    assert ezaudio("caption", "run", "strong_labels", strong, "-o", "set")[0] == 0
    code, out, _ = ezaudio("caption", "dedup", "set", "-o", "unique")
    assert (code, "kept: 3" in out) == (0, True)
    assert ezaudio("caption", "report", "unique", "r.html")[:2] == (0, "r.html\n")
    code, out, _ = ezaudio("caption", "export", "unique", "l.jsonl", "--without-audio", "--json")
    assert (code, json.loads(out)["clips"]) == (0, 3)


def test_an_estimate_comes_first_and_money_needs_a_word(
    ezaudio, strong: Path, server: ChatServer
) -> None:
    asked = ("caption", "run", "strong_labels", strong, "-o", "set", "--writer", "llm",
             "--server", server.url, "--set", "chat.price_in=5")  # fmt: skip
    code, out, err = ezaudio(*asked, "--dry-run")
    assert (code, out) == (0, "")
    assert "3 clips, 0 bad lines; 3 requests" in err and "about 0.0" in err
    for silence in ((), ("--quiet",)):
        code, _, err = ezaudio(*asked, *silence)
        assert code == 2
        assert "--max-cost" in err and "--yes" in err
    assert not server.calls and not (strong.parent / "set").exists()
    code, _, err = ezaudio(*asked, "--max-requests", "2", "--max-cost", "1")
    assert code == 2
    told = "error: `--max-requests`: got 2; allowed: a larger budget, for 1 clips that wait"
    assert err.splitlines()[-1].startswith(told)
    code, _, err = ezaudio(*asked, "--max-cost", "0.000001")
    assert (code, len(server.calls)) == (2, 2)
    assert err.splitlines()[-1].startswith("error: `--max-cost`: got 1e-06; allowed: a larger")
    assert ezaudio(*asked, "--yes")[0] == 0
    assert len(server.calls) == 3
    assert "0 requests" in ezaudio(*asked, "--dry-run")[2]


def test_a_dry_run_needs_no_key_and_a_run_asks_for_it_first(
    ezaudio, strong: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    asked = ("caption", "run", "strong_labels", strong, "-o", "set", "--writer", "llm")
    code, out, err = ezaudio(*asked, "--dry-run")
    assert (code, out) == (0, "")
    assert "3 requests" in err and "about 0.00" in err
    code, _, err = ezaudio(*asked, "--max-cost", "1", "--quiet")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "OPENAI_API_KEY" in err
    assert not (strong.parent / "set").exists()


def test_sources_and_prompts_are_listed_and_shown(ezaudio, tmp_path: Path) -> None:
    code, out, _ = ezaudio("caption", "sources")
    assert code == 0
    assert [line.partition(":")[0] for line in out.splitlines()] == list(SOURCES)
    assert "most_mentions" in ezaudio("caption", "sources", "strong_labels")[1]
    assert "ensemble" in ezaudio("caption", "prompts")[1]
    text = ezaudio("caption", "prompts", "strong_labels")[1]
    assert "[user]\n{events}" in text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("run", "nothing", "x", "-o", "s"), "audiocaps"),
        (("run", "audiocaps", "absent.csv", "-o", "s"), "readable file"),
        (("run", "audiocaps", "strong.tsv", "-o", "s"), "youtube_id"),
        (("run", "audiocaps", "strong.tsv", "-o", "s", "--writer", "llm"), "--writer"),
        (("run", "audiocaps", "strong.tsv", "-o", "s", "--files", "{name}.wav"), "{clip} or {id}"),
        (("run", "audiocaps", "strong.tsv", "-o", "s", "--files", "one.wav"), "{clip} or {id}"),
        (("run", "strong_labels", "strong.tsv", "-o", "s", "--names", "absent"), "--names"),
        (("run", "strong_labels", "bare.tsv", "-o", "s"), "1 bad lines, most often: times are not"),
        (("run", "audio_lm", ".", "-o", "s", "--writer", "transformers"), "at least one clip"),
        (("run", "strong_labels", "strong.tsv", "-o", "s", "--threshold", "7"), "--threshold"),
        (("run", "strong_labels", "strong.tsv", "-o", "s", "--top-k", "0"), "--top-k"),
        (("run", "strong_labels", "strong.tsv", "-o", "s", "--sounds", "maybe"), "'near'"),
        (("run", "strong_labels", "strong.tsv", "-o", "s", "--valid", "1"), "--valid"),
        (("run", "strong_labels", "strong.tsv", "-o", "s", "--report", "no/r.html"), "no folder"),
        (("run", "strong_labels", "strong.tsv", "-o", "s", "--manifest", "l.txt"), ".jsonl"),
        (("run", "strong_labels", "strong.tsv", "-o", "s", "--clap", "absent"), "--clap"),
        (("run", "strong_labels", "strong.tsv", "-o", "s", "--batch-size", "0"), "--batch-size"),
        (("run", "strong_labels", "strong.tsv", "-o", "/proc/s"), "cannot write /proc/s"),
        (
            ("run", "strong_labels", "strong.tsv", "-o", "s", "--writer", "llm", "--server", "me"),
            "http://localhost",
        ),
        (("filter", "absent", "-o", "s"), "ezaudio caption"),
        (("run", "strong_labels", "strong.tsv", "-o", "s", "--set", "most_mentions=0"), "greater"),
        (("run", "strong_labels", "strong.tsv", "-o", "s", "--executor", "threads"), "local, ray"),
        (("run", "strong_labels", "strong.tsv", "-o", "s", "--writer", "llm"), "OPENAI_API_KEY"),
        (("dedup", "absent", "-o", "s"), "ezaudio caption"),
        (("report", "absent", "r.html"), "ezaudio caption"),
        (("export", "absent", "l.txt"), ".csv"),
        (("sources", "nothing"), "strong_labels"),
        (("prompts", "nothing"), "ensemble"),
    ],
)
def test_bad_input_is_answered_in_one_line(
    ezaudio, strong: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...], told: str,
) -> None:  # fmt: skip
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "bare.tsv").write_text(HEADER + "a\tx\t1\tBark\n")
    code, out, err = ezaudio("caption", *arguments)
    assert (code, out) == (2, "")
    assert told in err
    assert len(err.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare.tsv", "strong.tsv"]


@pytest.fixture
def made(ezaudio, strong: Path) -> str:
    assert ezaudio("caption", "run", "strong_labels", strong, "-o", "set")[0] == 0
    return "set"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("dedup", "-o", "set"), "another folder"),
        (("filter", "-o", "set", "--clap", "."), "another folder"),
        (("dedup", "-o", "/proc/s"), "cannot write /proc/s"),
        (("filter", "-o", "/proc/s", "--clap", "."), "cannot write /proc/s"),
        (("dedup", "-o", "s", "--similarity", "2"), "--similarity"),
        (("dedup", "-o", "s", "--within", "x"), "--within"),
        (("filter", "-o", "s", "--threshold", "nan"), "--threshold"),
        (("filter", "-o", "s", "--dtype", "int8"), "--dtype"),
        (("filter", "-o", "s", "--clap", "."), "preprocessor_config.json"),
        (("report", "no/r.html"), "no folder"),
        (("report", "r.html", "--pairs", "-1"), "--pairs"),
        (("export", "l.csv", "--valid", "2"), "--valid"),
        (("export", "l.csv", "--audio", "absent"), "none of 3 clips"),
        (("export", "no/l.csv"), "no folder"),
    ],
)
def test_a_step_that_cannot_be_taken_leaves_the_set_as_it_was(
    ezaudio, made: str, tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    def bytes_of_all() -> dict[str, bytes]:
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        return {str(path): path.read_bytes() for path in files}

    before = bytes_of_all()
    code, out, err = ezaudio("caption", arguments[0], made, *arguments[1:])
    assert (code, out) == (2, "")
    assert told in err
    assert len(err.splitlines()) == 1
    assert bytes_of_all() == before


def test_sets_are_joined_and_not_written_over(ezaudio, made: str, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text(
        "audiocap_id,youtube_id,start_time,caption\n1,abcdefghijk,0,A dog barks.\n"
    )
    assert ezaudio("caption", "run", "audiocaps", "one.csv", "-o", "two")[0] == 0
    code, out, _ = ezaudio("caption", "dedup", made, "two", "-o", "all", "--json")
    assert (code, json.loads(out)["kept"]) == (0, 4)
    sources = {record.source for record in CaptionSet(tmp_path / "all").records()}
    assert sources == {"strong_labels", "audiocaps"}
    code, _, err = ezaudio("caption", "dedup", made, "-o", "two")
    assert (code, "holds audiocaps captions" in err) == (2, True)
    assert len(list(CaptionSet(tmp_path / "two").records())) == 1


def test_half_of_a_joined_set_is_not_taken_for_the_whole(
    ezaudio, made: str, tmp_path: Path
) -> None:
    assert ezaudio("caption", "dedup", made, "-o", "unique")[0] == 0
    killed = CaptionSet(tmp_path / "unique")
    killed.write_card({"format": 1, "source": "dedup", "finished": False})
    code, _, err = ezaudio("caption", "report", "unique", "r.html")
    assert (code, "run `ezaudio caption dedup` again" in err) == (2, True)
    assert ezaudio("caption", "dedup", made, "-o", "unique")[0] == 0
    assert ezaudio("caption", "report", "unique", "r.html")[0] == 0
