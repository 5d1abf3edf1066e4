import json

import pytest

from atrium_meeting.adapters.caption_files import read_srt, read_vtt, write_srt, write_vtt
from atrium_meeting.adapters.json_transcript import read_json, transcript_to_json
from atrium_meeting.adapters.transcript_files import TranscriptFiles
from atrium_meeting.domain.captions import cut_captions
from atrium_meeting.domain.errors import (
    SpeakersTooMany,
    TranscriptBroken,
    TranscriptEmpty,
    TranscriptTimesReversed,
    TranscriptTooLong,
)
from atrium_meeting.domain.imported_transcript import ImportedEntry, build_transcript
from atrium_meeting.domain.transcript import Disfluency, Speaker, Transcript, Utterance, Word

VTT = """WEBVTT

1
00:00:01.000 --> 00:00:04.000
<v Lin Wei>Let's begin. Any &amp; all
updates?</v>

00:00:04.000 --> 00:00:06.500
<v.first Ana>Yes <b>we</b> shipped
<v Bo>And tests

01:00:04.000 --> 01:00:16.500
大家好，我们今天讨论预算的问题，下周三之前由王芳负责提交新的版本，然后我们再看看要不要延期发布，这个可以吗。
"""

SRT = """1
00:00:01,000 --> 00:00:02,000
Ana: One thing: we ship.

2
00:00:02,500 --> 00:00:03,000
Ben: Fine

3
00:00:03,100 --> 00:00:04,000
Ben: by me.
"""


def texts(transcript: Transcript) -> list[str]:
    return [utterance.text for utterance in transcript.utterances]


def names(transcript: Transcript) -> list[str]:
    return [speaker.display_name for speaker in transcript.speakers]


def spoken() -> Transcript:
    words = (
        Word("Um,", 0, 200, 0.5, Disfluency.FILLER),
        Word("we", 300, 400, 0.9, Disfluency.REPETITION),
        Word("we", 400, 500, 0.9),
        Word("ship", 500, 900, 0.9),
        Word("3", 900, 1000, 0.9),
        Word("<b>", 1000, 1100, 0.9),
    )
    chinese = tuple(Word(c, 2000 + 100 * i, 2100 + 100 * i) for i, c in enumerate("我们同意。"))
    return Transcript(
        1,
        (Speaker("S1", "Ana > Ben"), Speaker("S2")),
        (Utterance("u1", "S1", "en", words), Utterance("u2", "S2", "zh", chinese)),
    )


def test_a_vtt_file_becomes_utterances_with_voices_languages_and_times() -> None:
    transcript = build_transcript(read_vtt(VTT))

    assert texts(transcript)[:3] == [
        "Let's begin. Any & all updates?",
        "Yes we shipped",
        "And tests",
    ]
    assert names(transcript) == ["Lin Wei", "Ana", "Bo", ""]
    assert [u.language for u in transcript.utterances] == ["en", "en", "en", "zh"]
    assert transcript.utterances[0].start_ms == 1000
    assert transcript.utterances[2].end_ms == 6500
    assert transcript.utterances[3].start_ms == 3_604_000
    assert transcript.end_ms == 3_616_500


def test_names_before_the_text_of_srt_are_speakers_and_other_colons_stay() -> None:
    transcript = build_transcript(read_srt(SRT))

    assert names(transcript) == ["Ana", "Ben"]
    assert texts(transcript) == ["One thing: we ship.", "Fine by me."]


def test_a_colon_that_is_no_name_stays_in_the_text() -> None:
    entries = [
        ImportedEntry(0, 1000, "One thing: we ship."),
        ImportedEntry(1000, 2000, "All agreed."),
        ImportedEntry(2000, 3000, "Nobody spoke against it."),
    ]

    assert texts(build_transcript(entries))[0] == "One thing: we ship."


@pytest.mark.parametrize(("write", "read"), [(write_vtt, read_vtt), (write_srt, read_srt)])
def test_captions_that_are_written_read_back_as_the_same_words(write, read) -> None:
    transcript = build_transcript(read_vtt(VTT))

    back = build_transcript(read(write(cut_captions(transcript, clean=False))))

    assert texts(back) == texts(transcript)
    assert names(back) == names(transcript)


def test_captions_are_short_enough_to_read() -> None:
    words = tuple(Word(f"word{i}", 300 * i, 300 * i + 250) for i in range(200))
    transcript = Transcript(1, (Speaker("S1"),), (Utterance("u1", "S1", "en", words),))

    captions = list(cut_captions(transcript, clean=False))

    assert all(caption.end_ms - caption.start_ms <= 7_000 for caption in captions)
    assert all(len(line) <= 42 for caption in captions for line in caption.lines)
    assert all(len(caption.lines) <= 2 for caption in captions)
    said = " ".join(line for caption in captions for line in caption.lines)
    assert said == transcript.utterances[0].text


def test_a_long_word_and_a_pause_are_captioned() -> None:
    words = (Word("a" * 120, 0, 100), Word("b", 9_000, 9_100))
    transcript = Transcript(1, (Speaker("S1"),), (Utterance("u1", "S1", "en", words),))

    captions = list(cut_captions(transcript, clean=False))

    assert [caption.lines for caption in captions] == [("a" * 120,), ("b",)]
    assert captions[1].start_ms == 9_000


def test_clean_captions_leave_disfluencies_out_and_nothing_of_a_name_breaks_the_format() -> None:
    written = write_vtt(cut_captions(spoken(), clean=True))

    back = build_transcript(read_vtt(written))

    assert texts(back) == ["We ship 3 <b>", "我们同意。"]
    assert names(back) == ["Ana Ben", ""]


def test_json_keeps_every_word_time_and_mark() -> None:
    transcript = spoken()

    back = read_json(json.dumps(transcript_to_json(transcript, clean=False)))

    assert back == transcript


def test_clean_json_says_what_is_left() -> None:
    written = transcript_to_json(spoken(), clean=True)

    assert written["utterances"][0]["text"] == "We ship 3 <b>"
    assert [word["text"] for word in written["utterances"][0]["words"]] == [
        "We",
        "ship",
        "3",
        "<b>",
    ]


def test_a_word_alone_is_captioned_with_what_the_same_person_says_beside_it() -> None:
    said = (
        ("S1", "Well.", 0),
        ("S1", "We", 600),
        ("S1", "ship it today.", 700),
        ("S2", "Yes.", 3_000),
    )
    utterances = tuple(
        Utterance(f"u{n}", who, "en", tuple(Word(w, at, at + 300) for w in text.split()))
        for n, (who, text, at) in enumerate(said)
    )
    transcript = Transcript(1, (Speaker("S1"), Speaker("S2")), utterances)

    captions = list(cut_captions(transcript, clean=False))

    assert [one.lines for one in captions] == [("Well. We ship it today.",), ("Yes.",)]
    assert (captions[0].start_ms, captions[0].end_ms) == (0, 1_000)


def test_segments_as_recognisers_write_them_are_read() -> None:
    text = json.dumps(
        {"language": "en", "segments": [{"start": 1.5, "end": 2.25, "text": " Hello there."}]}
    )

    transcript = read_json(text)

    assert texts(transcript) == ["Hello there."]
    assert transcript.utterances[0].start_ms == 1500
    assert transcript.end_ms == 2250


def test_overlapping_entries_are_all_kept_in_order_of_time() -> None:
    entries = [
        ImportedEntry(2000, 4000, "Second.", "Ben"),
        ImportedEntry(0, 5000, "First, and long.", "Ana"),
    ]

    transcript = build_transcript(entries)

    assert texts(transcript) == ["First, and long.", "Second."]
    assert names(transcript) == ["Ana", "Ben"]


def test_five_hundred_speakers_are_read_and_too_many_are_refused() -> None:
    def entries(count: int) -> list[ImportedEntry]:
        return [ImportedEntry(i, i + 1, "Here.", f"Person {i}") for i in range(count)]

    assert len(build_transcript(entries(500)).speakers) == 500
    with pytest.raises(SpeakersTooMany) as caught:
        build_transcript(entries(1001))
    assert caught.value.metadata == {"count": "1001", "limit": "1000"}


@pytest.mark.parametrize(
    ("read", "text", "error", "part"),
    [
        (read_vtt, "hello", TranscriptBroken, "WebVTT"),
        (read_vtt, "WEBVTT\n\n00:99 --> x\nhi", TranscriptBroken, "1 have a bad time"),
        (read_srt, "1\n00:00:01 -> 00:00:02\nhi", TranscriptBroken, "SubRip"),
        (read_vtt, "WEBVTT\n\n", TranscriptEmpty, "no words"),
        (
            read_vtt,
            "WEBVTT\n\n00:00:05.000 --> 00:00:01.000\nhi",
            TranscriptTimesReversed,
            "ends at 1000 ms, before it begins at 5000 ms",
        ),
        (read_vtt, "WEBVTT\n\n99:00:00.000 --> 99:00:01.000\nhi", TranscriptTooLong, "99 hours"),
    ],
)
def test_a_broken_caption_file_is_refused_with_what_is_wrong(read, text, error, part) -> None:
    with pytest.raises(error, match=part):
        build_transcript(read(text))


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("{", TranscriptBroken),
        ("[]", TranscriptBroken),
        ({"utterances": []}, TranscriptEmpty),
        ({"utterances": [{"start_ms": -1, "end_ms": 5, "text": "a"}]}, TranscriptBroken),
        ({"utterances": [{"start_ms": 9, "end_ms": 5, "text": "a"}]}, TranscriptTimesReversed),
        ({"segments": [{"start": 2, "end": 1, "text": "a"}]}, TranscriptTimesReversed),
        ({"segments": [{"start": "x", "end": 1, "text": "a"}]}, TranscriptBroken),
        (
            {
                "utterances": [
                    {
                        "start_ms": 0,
                        "end_ms": 9,
                        "words": [
                            {"text": "a", "start_ms": 5, "end_ms": 6},
                            {"text": "b", "start_ms": 1, "end_ms": 2},
                        ],
                    }
                ]
            },
            TranscriptTimesReversed,
        ),
    ],
)
def test_broken_json_is_refused_with_what_is_wrong(value, error) -> None:
    text = value if isinstance(value, str) else json.dumps(value)

    with pytest.raises(error) as caught:
        read_json(text)

    assert caught.value.field == "content"


@pytest.mark.parametrize("form", ["own", "segments"])
def test_a_name_with_line_breaks_breaks_no_caption_file(form: str):
    if form == "own":
        said = transcript_to_json(spoken(), clean=False)
        said["speakers"][0]["name"] = "Ana\n\n2\n00:00:01,000 --> 00:00:09,000\nBen"
    else:
        said = {"segments": [{"start": 0, "end": 1, "text": "We ship.", "speaker": "Ana\n\nBen"}]}
    transcript = read_json(json.dumps(said))
    assert all("\n" not in name for name in names(transcript))
    captions = list(cut_captions(transcript, clean=False))
    assert len(read_srt(write_srt(captions))) == len(captions)


def test_what_no_database_keeps_is_refused():
    content = json.dumps({"segments": [{"start": 0, "end": 1, "text": "a\0b"}]})
    with pytest.raises(TranscriptBroken, match=r"U\+0000"):
        TranscriptFiles().read(content.encode(), None)
