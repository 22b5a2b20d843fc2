from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from tests.captions.reading import read_sentence

from ezaudio.captions.base import Allowance
from ezaudio.captions.names import read_names
from ezaudio.captions.record import BadLine, Event, Item
from ezaudio.captions.rules.phrases import phrases_of
from ezaudio.captions.rules.sentences import sentence_of
from ezaudio.captions.rules.timeline import TOGETHER_S, Timeline, timeline_of
from ezaudio.captions.sources import source_from
from ezaudio.errors import InputError

HEADER = "segment_id\tstart_time_seconds\tend_time_seconds\tlabel\n"
# A few rows of AudioSet's mid_to_display_name.tsv (CC BY 4.0).
NAMES = """/m/05tny_\tBark
/m/06mb1\tRain
/m/05zppz\tMale speech, man speaking
/m/032s66\tGunshot, gunfire
/m/07pbtc8\tWalk, footsteps
/m/02dgv\tDoor
/m/03kmc9\tSiren
/m/03m9d0z\tWind
/m/09xqv\tCricket
/m/0dv5r\tCamera
/m/07r4gkf\tPatter
/m/0jb2l\tThunderstorm
"""
LABELS = [line.split("\t")[1] for line in NAMES.splitlines()]


@pytest.fixture
def names(tmp_path: Path) -> Path:
    path = tmp_path / "names.tsv"
    path.write_text(NAMES)
    return path


def written(tmp_path: Path, rows: str, **settings: object) -> Path:
    path = tmp_path / "strong.tsv"
    path.write_text(HEADER + rows)
    return path


def random_events(draw: random.Random) -> list[Event]:
    events = []
    for _ in range(draw.randint(1, 9)):
        start_s = round(draw.uniform(0, 9.5), 3)
        length_s = draw.choice([0.0, 0.2, draw.expovariate(0.8), draw.uniform(3, 10)])
        label = draw.choice(LABELS)
        events.append(Event(label, start_s, round(min(10.0, start_s + length_s), 3)))
    if draw.random() < 0.2:
        events.append(Event("Rain", 0.0, 10.0))
    return events


def said_rightly(timeline: Timeline, sentence: str) -> bool:
    """Compare what a sentence says with what was to be said."""
    read = read_sentence(sentence, LABELS)
    told = timeline.mentions
    if sorted(r.label for r in read) != sorted(m.label for m in told):
        return False
    left = list(read)
    placed = []
    for mention in told:  # the k-th mention of a kind is the k-th that was read
        index = next(i for i, r in enumerate(left) if r.label == mention.label)
        placed.append((mention, left.pop(index)))
    for mention, r in placed:
        counted = r.times == mention.count or (mention.count > 5 and r.times is None)
        scattered = mention.scattered and r.times is None
        if not (counted or scattered) or r.again != mention.again:
            return False
    for i, (a, read_a) in enumerate(placed):
        for b, read_b in placed[i + 1 :]:
            if read_a.background or read_b.background:
                under, over = (a, b) if read_a.background else (b, a)
                if under.end_s <= over.start_s:
                    return False
                continue
            overlap = min(a.end_s, b.end_s) >= max(a.start_s, b.start_s)
            near = abs(a.start_s - b.start_s) <= TOGETHER_S
            if read_a.rank > read_b.rank and not near:
                return False
            if read_a.rank == read_b.rank and not (overlap or near):
                return False
            if read_b.overlaps and read_b.rank == read_a.rank + 1 and a.end_s < b.start_s:
                others = [m for m, r in placed if r.rank == read_a.rank]
                if all(m.end_s <= b.start_s for m in others):
                    return False
    return True


def test_the_order_that_a_sentence_gives_is_that_of_the_events_in_99_of_100_clips() -> None:
    draw = random.Random(7)
    right = 0
    clips = 1500
    for number in range(clips):
        timeline = timeline_of(random_events(draw))
        right += said_rightly(timeline, sentence_of(timeline, f"clip{number}"))
    assert right >= 0.99 * clips


def test_the_reader_notices_a_sentence_whose_order_is_wrong() -> None:
    draw = random.Random(8)
    noticed = tried = 0
    for number in range(300):
        timeline = timeline_of(random_events(draw))
        apart = [
            step for a, step in zip(timeline.steps, timeline.steps[1:], strict=False)
            if step.mentions[0].start_s - a.mentions[0].start_s > TOGETHER_S
            and step.mentions[0].label != a.mentions[0].label
        ]  # fmt: skip
        if len(timeline.steps) < 2 or not apart:
            continue
        backwards = Timeline(timeline.steps[::-1], timeline.background)
        tried += 1
        noticed += not said_rightly(timeline, sentence_of(backwards, f"clip{number}"))
    assert tried > 100
    assert noticed >= 0.95 * tried


def test_one_timeline_has_many_wordings() -> None:
    timeline = timeline_of([Event("Bark", 0, 1), Event("Door", 3, 3.5), Event("Siren", 6, 9)])
    assert len({sentence_of(timeline, f"clip{n}") for n in range(200)}) > 100


def test_a_clip_always_gets_the_same_sentence() -> None:
    timeline = timeline_of([Event("Bark", 0, 1), Event("Door", 3, 3.5)])
    assert sentence_of(timeline, "a") == sentence_of(timeline, "a")


def test_pieces_that_nearly_touch_are_one_and_pieces_apart_are_counted() -> None:
    one = timeline_of([Event("Bark", 0, 1), Event("Bark", 1.1, 2)])
    two = timeline_of([Event("Bark", 0, 1), Event("Bark", 3, 4), Event("Bark", 5, 6)])
    assert [m.count for m in one.mentions] == [1]
    assert [m.count for m in two.mentions] == [3]


def test_a_sound_that_comes_again_after_another_is_said_again() -> None:
    timeline = timeline_of([Event("Bark", 0, 1), Event("Door", 2, 3), Event("Bark", 4, 5)])
    assert [(m.label, m.again) for m in timeline.mentions] == [
        ("Bark", False), ("Door", False), ("Bark", True),
    ]  # fmt: skip
    assert re.search(r"again|once more", sentence_of(timeline, "x"))


def test_what_lies_under_everything_is_the_background() -> None:
    events = [Event("Rain", 0, 10), Event("Bark", 2, 3), Event("Door", 5, 6)]
    timeline = timeline_of(events)
    assert timeline.background is not None
    assert timeline.background.label == "Rain"


def test_an_event_without_length_is_said_in_its_place() -> None:
    events = [Event("Door", 5, 5), Event("Bark", 1, 2)]
    assert [m.label for m in timeline_of(events).mentions] == ["Bark", "Door"]


def test_too_many_events_are_gathered_before_any_is_left_out() -> None:
    events = [Event(label, t, t + 0.5) for t in range(0, 10, 2) for label in ("Bark",)]
    events += [Event("Male speech, man speaking", t + 1, t + 1.6) for t in range(0, 10, 2)]
    timeline = timeline_of(events, most_mentions=4)
    assert not timeline.left_out
    assert any(mention.scattered for mention in timeline.mentions)
    many = [Event(label, t, t + 0.1 * (t + 1)) for t, label in enumerate(LABELS[:9])]
    assert timeline_of(many, most_mentions=6).left_out == ("Bark", "Rain", LABELS[2])


def test_every_wording_of_the_table_can_be_told_from_the_words_that_join() -> None:
    path = Path(__file__).parents[3] / "src/ezaudio/captions/rules/words/phrases.txt"
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    labels = [line.split(" = ")[0] for line in lines]
    assert len(labels) == len(set(labels)) > 600
    texts = [(p.nominal, label) for label in labels for p in phrases_of(label)]
    texts += [(p.clause, label) for label in labels for p in phrases_of(label)]
    joining = re.compile(r"\b(and|then|while|as|before|after|over|with|again|both|first)\b|[,~*|]")
    assert not [text for text, _ in texts if joining.search(text)]
    owners: dict[str, str] = {}
    assert not [t for t, label in texts if owners.setdefault(t, label) != label]


@pytest.mark.parametrize(
    ("wording", "nominal", "clause"),
    [
        ("Bark", "a dog barking", "a dog barks"),
        ("Humming", "someone humming", "someone hums"),
        ("Cupboard open or close", "a cupboard closing", "a cupboard closes"),
        ("Crying, sobbing", "someone crying", "someone cries"),
        ("Clapping", "people clapping", "people clap"),
        ("Rustling leaves", "leaves rustling", "leaves rustle"),
        ("Explosion", "an explosion", "an explosion is heard"),
        ("Some new label (odd)", "the sound of some new label", None),
        ("CRT whine", "the sound of CRT whine", None),
        ("Polka music", "polka music", "polka music plays"),
    ],
)
def test_a_label_is_said_in_grammatical_words(
    wording: str, nominal: str, clause: str | None
) -> None:
    phrase = phrases_of(wording)[0]
    assert phrase.nominal == nominal
    assert clause is None or phrase.clause == clause


def test_unsorted_lines_of_a_segment_come_together_in_the_order_of_the_events(
    tmp_path: Path, names: Path
) -> None:
    rows = (
        "YxlGt805lTA_30000\t6.0\t7.5\t/m/02dgv\n"
        "aaaaaaaaaaa_0\t0.0\t1.0\t/m/06mb1\n"
        "YxlGt805lTA_30000\t2.0\t2.5\t/m/05tny_\n"
    )
    source = source_from("strong_labels", {"names": str(names)})
    items = list(source.items(written(tmp_path, rows)))
    assert [item.clip_id for item in items] == ["YxlGt805lTA_30000", "aaaaaaaaaaa_0"]
    assert (items[0].start_s, items[0].end_s) == (30.0, 40.0)
    outcome = source.open().write([items[0]], Allowance(tmp_path / "j"))[0]
    read = read_sentence(outcome.captions[0], LABELS)
    assert [r.label for r in sorted(read, key=lambda r: r.rank)] == ["Bark", "Door"]


def test_bad_lines_are_named_and_counted_and_the_rest_is_kept(tmp_path: Path, names: Path) -> None:
    rows = (
        "a_0\t0.0\t1.0\t/m/05tny_\n"
        "a_0\t0.0\t1.0\t/m/unknown\n"
        "a_0\t3.0\t2.0\t/m/06mb1\n"
        "a_0\tnan\t2.0\t/m/06mb1\n"
        "a_0\tx\t2.0\t/m/06mb1\n"
        "a_0\t1.0\t/m/06mb1\n"
        "\n"
        "\t1.0\t2.0\t/m/06mb1\n"
        "a_0\t-1.0\t2.0\t/m/06mb1\n"
    )
    source = source_from("strong_labels", {"names": str(names)})
    found = list(source.items(written(tmp_path, rows)))
    items = [item for item in found if isinstance(item, Item)]
    assert [event.label for item in items for event in item.events] == ["Bark"]
    assert [(line.where, line.reason) for line in found if isinstance(line, BadLine)] == [
        ("strong.tsv:3", "unknown label"),
        ("strong.tsv:4", "times out of order"),
        ("strong.tsv:5", "times out of order"),
        ("strong.tsv:6", "times are not numbers"),
        ("strong.tsv:7", "wrong number of columns"),
        ("strong.tsv:9", "no segment"),
        ("strong.tsv:10", "times out of order"),
    ]


def test_labels_that_are_names_need_no_file_of_names(tmp_path: Path) -> None:
    path = tmp_path / "events.tsv"
    path.write_text("filename\tonset\toffset\tevent_label\nmix.wav\t0.5\t1.5\tBark\n")
    (item,) = source_from("strong_labels", {}).items(path)
    assert isinstance(item, Item)
    assert (item.clip_id, item.events) == ("mix.wav", (Event("Bark", 0.5, 1.5),))


def test_another_file_is_refused_with_the_columns_that_are_wanted(tmp_path: Path) -> None:
    path = tmp_path / "other.tsv"
    path.write_text("a\tb\n1\t2\n")
    with pytest.raises(InputError, match="segment_id, start_time_seconds"):
        list(source_from("strong_labels", {}).items(path))


def test_names_are_read_from_each_of_the_published_files(tmp_path: Path, names: Path) -> None:
    table = tmp_path / "class_labels_indices.csv"
    table.write_text('index,mid,display_name\n1,/m/05zppz,"Male speech, man speaking"\n')
    ontology = tmp_path / "ontology.json"
    ontology.write_text('[{"id": "/m/05zppz", "name": "Male speech, man speaking"}]')
    for path in (names, table, ontology):
        assert read_names(path)["/m/05zppz"] == "Male speech, man speaking"
    ontology.write_text("{")
    with pytest.raises(InputError, match="names"):
        read_names(ontology)
