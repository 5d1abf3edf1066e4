import json

import numpy as np

from atrium_meeting.domain.online_speakers import MOST_SPEAKERS, OnlineSpeakers

A, B, C = np.eye(3, 192, dtype=np.float32)


def test_voices_keep_their_speakers():
    speakers = OnlineSpeakers()

    heard = [speakers.assign(voice, 3000) for voice in (A, B, A + 0.2 * B, B, C)]

    assert heard == ["S1", "S2", "S1", "S2", "S3"]


def test_a_short_utterance_makes_no_new_speaker_and_moves_no_mean():
    speakers = OnlineSpeakers()
    speakers.assign(A, 3000)

    assert speakers.assign(B, 700) == "S1"
    assert speakers.assign(B, 3000) == "S2"


def test_the_first_utterance_is_s1_however_short():
    assert OnlineSpeakers().assign(A, 400) == "S1"
    assert OnlineSpeakers().assign(None, 100) == "S1"


def test_what_is_too_short_to_tell_goes_to_who_spoke_last():
    speakers = OnlineSpeakers()
    for voice in (A, B):
        speakers.assign(voice, 3000)

    assert speakers.assign(None, 200) == "S2"


def test_a_mean_follows_a_voice_that_changes():
    speakers = OnlineSpeakers()
    angles = np.linspace(0, np.pi / 2, 60)

    heard = {speakers.assign(np.cos(x) * A + np.sin(x) * B, 6000) for x in angles}

    assert heard == {"S1"}


def test_memory_is_bounded():
    speakers = OnlineSpeakers()
    for voice in np.eye(192, dtype=np.float32):
        speakers.assign(voice, 3000)

    assert speakers.count == MOST_SPEAKERS


def test_speakers_come_back_from_json():
    speakers = OnlineSpeakers()
    for voice in (A, B):
        speakers.assign(voice, 3000)

    again = OnlineSpeakers.restore(json.loads(json.dumps(speakers.dump())))

    assert [again.assign(voice, 3000) for voice in (B, A, C)] == ["S2", "S1", "S3"]
