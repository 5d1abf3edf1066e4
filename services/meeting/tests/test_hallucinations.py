from __future__ import annotations

import pytest

from atrium_meeting.domain.hallucinations import Evidence, is_loop, said
from atrium_meeting.domain.transcript import join, split_words

_SURE = Evidence(0.02, -0.2, 4_000, 0.05)
_UNSURE = Evidence(0.4, -0.9, 4_000, 0.05)
_SILENT = Evidence(0.8, -0.3, 4_000, 0.05)


def _kept(text: str, evidence: Evidence = _SURE) -> str:
    words = split_words(text)
    return join(word for word, keep in zip(words, said(words, evidence), strict=True) if keep)


MADE_UP = """
Thanks for watching!
Thank you for watching.
Thank you so much for watching
Thanks for watching, and I'll see you in the next video.
Thank you guys for watching this video.
Okay, thank you for watching.
Thanks for watching! Thanks for watching!
I'll see you in the next video.
See you next video.
Please subscribe to my channel.
Please like and subscribe.
Don't forget to like, share, and subscribe.
Make sure to subscribe to our channel and hit the bell icon.
If you enjoyed this video, please like and subscribe.
Subtitles by the Amara.org community
Subtitles by Steve Smith
Transcribed by ESO, translated by
Transcription by CastingWords
Captioning by Jane Doe
www.mooji.org
For more information, visit www.fema.gov
[Music]
(applause)
谢谢观看
谢谢大家观看。
感谢观看！
感谢您的观看
谢谢收看，我们下期再见。
謝謝觀看
感謝您的觀看
謝謝大家收看
我们下期再见！
下期节目再见
请不吝点赞 订阅 转发 打赏支持明镜与点点栏目
請不吝點贊訂閱轉發打賞支持明鏡與點點欄目
請不吝點贊
明镜需要您的支持 欢迎订阅明镜
字幕由Amara.org社区提供
字幕由 Amara.org 社群提供
字幕由志愿者提供
字幕志愿者 李宗盛
字幕志願者 楊棟樑
中文字幕志愿者 李宗盛
字幕製作：貝爾
字幕by索兰娅
字幕:J Chong
中文字幕组
詞曲 李宗盛
作词：李宗盛
優優獨播劇場——YoYo Television Series Exclusive
请订阅我的频道
请点赞、订阅、转发
記得訂閱我的頻道
如果喜欢我的视频请点赞订阅
歡迎訂閱、按讚、分享
本字幕由小河制作
""".strip().splitlines()


@pytest.mark.parametrize("text", MADE_UP)
def test_what_only_subtitles_say_never_comes_out(text: str) -> None:
    assert _kept(text) == ""
    assert _kept(f"我们明天继续。 {text}") == "我们明天继续。"


REAL = """
Thanks for watching the demo, now the numbers.
Thank you for watching over the release while I was away.
Thank you.
Thanks, everyone.
Thank you for listening, any questions?
I'll see you on Monday.
See you in the next meeting.
We should subscribe to their channel of updates before May.
Customers subscribe for a year and like it.
The subtitles by Friday, please.
Subtitles by hand are too slow.
Send it to legal at example.com before noon.
You can find it on www.example.com under downloads.
Did you watch the video to the end?
The next video is due in June.
So, thank you all for joining.
谢谢大家。
谢谢大家来参加今天的会议。
谢谢王芳，下面看预算。
感谢大家观看演示，下面说一下数字。
字幕由小王来做，周五交。
字幕组的人下周入职。
请大家关注一下这个问题。
订阅的价格我们涨了百分之五。
我们的视频需要加字幕。
请点赞数最多的小组先发言。
下期的预算还没有批。
我们下次再讨论订阅的问题。
明镜项目的进度怎么样？
音乐的版权问题解决了。
再见。
""".strip().splitlines()


@pytest.mark.parametrize("text", REAL)
def test_real_sentences_with_such_words_survive(text: str) -> None:
    assert _kept(text) == text


def test_a_farewell_after_real_words_goes_alone() -> None:
    assert _kept("The budget is fixed. Thanks for watching!") == "The budget is fixed."
    assert _kept("预算定了。谢谢观看。") == "预算定了。"
    assert _kept("我们明天见请不吝点赞订阅转发打赏支持明镜与点点栏目") == "我们明天见"


@pytest.mark.parametrize("text", ["Thank you.", "you", "Bye.", "谢谢大家。", "谢谢", "嗯。", "Oh."])
def test_what_people_say_too_goes_only_where_the_sound_does_not_bear_it_out(text: str) -> None:
    assert _kept(text) == text
    assert _kept(text, _UNSURE) == ""
    assert _kept(text, _SILENT) == ""


def test_doubtful_sound_keeps_what_is_no_phrase() -> None:
    assert _kept("We move it to June.", _SILENT) == "We move it to June."
    assert _kept("We move it to June.", _UNSURE) == "We move it to June."


@pytest.mark.parametrize(
    "evidence",
    [
        Evidence(0.8, -0.9, 4_000, 0.05),
        Evidence(0.1, -1.5, 4_000, 0.05),
        Evidence(0.1, -0.1, 4_000, 0.0),
        Evidence(0.1, -0.1, 100, 0.05),
    ],
    ids=["nobody speaks", "guess", "silence", "too fast"],
)
def test_words_that_the_sound_cannot_hold_go(evidence: Evidence) -> None:
    text = "We move the date to June and tell nobody about it until the board has agreed to it."
    assert _kept(text) == text
    assert _kept(text, evidence) == ""


@pytest.mark.parametrize(
    "text",
    [
        "I'm going to go. " * 4,
        "好的。" * 12,
        "the the the the the the the the the the the the the the the the the the the the the the",
        "谢谢" * 40,
    ],
)
def test_loops_go(text: str) -> None:
    assert is_loop(split_words(text))
    assert _kept(text, Evidence(0.0, -0.1, 30_000, 0.1)) == ""


@pytest.mark.parametrize(
    "text",
    [
        "No, no, no, that is not what we agreed on.",
        "好，好，好，就这么定。",
        "Yes. Yes. We do.",
        "一、二、三、四、五、六、七、八、九、十",
    ],
)
def test_repeated_words_are_no_loop(text: str) -> None:
    assert not is_loop(split_words(text))
    assert _kept(text) == text


def test_nothing_said_keeps_nothing() -> None:
    assert said([], _SURE) == []
