"""What Whisper makes up where nobody speaks.

It learned from subtitles: over silence, music and noise it writes how films end ("Thanks for
watching", "字幕由..."), or says one thing over and over.

- What only subtitles say ("Subtitles by ...", "请不吝点赞", "Thanks for watching") goes whenever it
  is a sentence of its own. "Thanks for watching the demo, now the numbers" is another sentence.
- What people say too ("Thank you.", "谢谢大家") goes only where the sound does not bear it out.
- Loops, guesses, and words over silence go whatever they say.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Final

import opencc

from atrium_meeting.domain.transcript import join

_CREDITS: Final = r"""
      (?:sub(?:title[sd]?|titling)|captions?|captioned|captioning|transcription|transcribed|translated
        |translation)\s(?:(?:were\s|was\s)?(?:made|created|provided|edited|corrected)\s)?by
        (?:\s(?:the\s)?(?-i:[A-Z])\S*)*(?:\scommunity)?
        (?:\s(?:translated|edited|corrected)\sby(?:\s(?-i:[A-Z])\S*)*)?
    | .*\bamara\.org\b.*
    | (?:www\.)?[a-z0-9-]+\.(?:com|org|net|tv|gov|cn|co\.uk)(?:/\S*)?
    | for\smore\sinformation\s(?:please\s)?(?:visit|go\sto)\s\S+
    | (?:copyright|©)\s.{0,40}(?:all\srights\sreserved)?
    | .*amara.*(?:字幕|社群|社区).*
    | (?:本|中文)?字幕(?:由|:|：|\s|by)*.{0,20}(?:提供|制作|志愿者|社群|社区|听译|校对|翻译|字幕组)
    | 字幕(?:制作|提供|翻译|校对|听译)\s?(?:[:：]|\s).{0,12}
    | 中?文?字幕志愿者.*
    | (?:中文)?字幕组?\s?(?:by|:|：)?\s?(?:索兰娅|李宗盛|杨栋梁|j\s?chong)?
    | (?:作词|作曲|编曲|词曲|演唱|词|曲)\s?(?::|：)?\s?李宗盛
    | (?:优优独播剧场.*|yoyo\stelevision\sseries\sexclusive)
    | 明镜(?:需要您的支持|与点点栏目).*
"""
_FAREWELLS: Final = r"""
      (?:(?:okay|ok|alright|so|and|well|as\salways|once\sagain|again)\s)*
        (?:i\s(?:hope|want\sto)\s.{0,40}\s)?
        (?:thanks|thank\syou)(?:\s(?:you|so\smuch|very\smuch|all|everyone|guys|a\slot))*
        \sfor\s(?:watching|viewing|tuning\sin)
        (?:\s(?:this|the|my|our|today's|to|until))*(?:\s(?:videos?|show|channel|program(?:me)?|end))?
        (?:\s(?:and\s)?(?:i'll|i\swill|we'll)?\s?see\syou\s.{0,30})?
    | (?:and\s)?(?:i'll\s|i\swill\s|we'll\s)?see\syou\s(?:guys\s|all\s)?(?:again\s)?
        (?:in\s)?(?:the\s|my\s|our\s)?next\s(?:video|episode)
    | (?:(?:please|and|so|if\syou\s(?:liked?|enjoyed?)\s(?:this|the)\svideo)\s)*
        (?:(?:remember|don't\sforget|be\ssure|make\ssure|make\ssure\syou)\s(?:to\s)?)?
        (?:hit\s(?:the\s)?|give\s(?:it|this\svideo)\sa\s)?
        (?:like|subscribe|thumbs\sup|share)(?:\s(?:and|like|share|comment|subscribe|to|my|our|the
        |this|youtube|channel|videos?|hit|bell|icon|button|notifications?|for|more))*
    | (?:谢谢|感谢|多谢)(?:大家|各位|你们|您)?(?:的|对本期视频的)?(?:观看|收看|收听|观赏)
        (?:大家|本期视频|本节目)?
        (?:\s?(?:我们)?(?:下次|下期|下集)?再见)?
    | (?:我们)?(?:下期|下集|下个视频|下期视频|下期节目)(?:节目|视频)?(?:再见|再会|见)
    | (?:如果(?:你|您)?喜欢(?:我的|这个|本)?(?:视频|影片|频道))?
        (?:请|记得|欢迎|别忘了|麻烦)*(?:大家|您|你)?
        (?:按赞|点赞|订阅|关注|转发|收藏|打开小铃铛)
        (?:[、和及]|\s|按赞|点赞|订阅|关注|转发|收藏|分享|打赏|(?:我的|我们的|本)?频道|小铃铛
        |评论|留言|支持|一下|哦|打开)*
"""
_SUBTITLES = re.compile(rf"(?:(?:{_CREDITS}|{_FAREWELLS})[\s、]*)+", re.VERBOSE | re.IGNORECASE)
_SIGNATURES = re.compile(
    r"请不吝点赞|打赏支持明镜|明镜与点点|字幕由\s?amara|由\s?amara\.org|中文字幕志愿者"
    r"|subtitles by the amara|优优独播剧场",
    re.IGNORECASE,
)
"""Nobody says these: they go, with the rest of the sentence, wherever they stand."""
_ALSO_SAID = re.compile(
    r"""
      (?:(?:okay|ok|alright|so|and|well)\s)*(?:thanks|thank\syou)
        (?:\s(?:you|so\smuch|very\smuch|all|everyone|guys|a\slot))*(?:\sfor\slistening)?
    | (?:i'll\s|i\swill\s|we'll\s)?see\syou
        (?:\s(?:again|later|soon|tomorrow|next\s(?:time|week)))?
    | (?:bye\s?)+ | you | the\send | so | oh | music | applause | laughter | mm | hmm | okay
    | (?:谢谢|感谢)(?:大家|各位|你们|您)?(?:的?聆听|的支持|大家)?
    | 再见 | 拜拜 | 完 | 音乐 | 掌声 | 好 | 嗯
    | (?:我们)?下次再见
    """,
    re.VERBOSE | re.IGNORECASE,
)
_NOT_SPEECH = re.compile(r"(?:[\[(（【♪*♫].{0,40}[\])）】♪*♫]|[♪♫\s])+")
_SENTENCE_END = re.compile(r"[。！？!?…][\"”’」』)）]*$|(?<![.A-Z])\.+[\"”’)]*$")
_MARKS_AT_ENDS = re.compile(r"^[\W_]+|[\W_]+$")
_INNER_MARKS = re.compile(r"[,，。、!！?？;；\"“”「」]+|(?<!\w)[.:：]+|[.:：]+(?!\w)")


@dataclass(frozen=True, slots=True)
class Evidence:
    """How sure the recogniser was of what it took a stretch of sound to say.

    Args:
        no_speech_probability: What it gave to "nobody speaks", 0 to 1.
        mean_log_probability: Of its tokens; 0 is certain, below -1 a guess.
        length_ms: Length of the sound.
        level: Its loudness, root mean square of samples from -1 to 1.
    """

    no_speech_probability: float
    mean_log_probability: float
    length_ms: int
    level: float


@dataclass(frozen=True, slots=True)
class HallucinationLimits:
    """What the sound must bear out.

    Args:
        no_speech_probability: From here on nobody speaks, unless the words are sure.
        unsure_log_probability: Below it words are not sure.
        guess_log_probability: Below it they are a guess, whatever else.
        compression_ratio: A text that shrinks by more (zlib) says the same again and again.
        silent_level: Quieter sound bears out nothing.
        most_words_per_second: Nobody speaks faster; characters, in Chinese.
    """

    no_speech_probability: float = 0.6
    unsure_log_probability: float = -0.7
    guess_log_probability: float = -1.4
    compression_ratio: float = 2.4
    silent_level: float = 0.0003
    most_words_per_second: float = 12.0


_LIMITS: Final = HallucinationLimits()


def said(
    words: Sequence[str], evidence: Evidence, limits: HallucinationLimits = _LIMITS
) -> list[bool]:
    """Tell for each word of a stretch of sound whether it was said, not made up."""
    nothing = [False] * len(words)
    silent = evidence.no_speech_probability >= limits.no_speech_probability
    unsure = evidence.mean_log_probability < limits.unsure_log_probability
    seconds = max(1.0, evidence.length_ms / 1000)
    if (
        evidence.level < limits.silent_level
        or (silent and unsure)
        or evidence.mean_log_probability < limits.guess_log_probability
        or len(words) > limits.most_words_per_second * seconds
        or is_loop(words, limits.compression_ratio)
    ):
        return nothing
    kept = list(nothing)
    for start, end in _sentences(words):
        sentence = words[start:end]
        keep = len(sentence) if not only_subtitles_say(join(sentence)) else 0
        if silent or unsure:
            alone = (start, end) == (0, len(words))
            if alone and _ALSO_SAID.fullmatch(_plain(join(sentence))):
                keep = 0
        keep = min(keep, _before_signature(sentence))
        kept[start : start + keep] = [True] * keep
    return kept


def only_subtitles_say(sentence: str) -> bool:
    """Tell whether a sentence is one that subtitles end with, or no speech at all: "[Music]"."""
    plain = _plain(sentence)
    if not plain or _NOT_SPEECH.fullmatch(sentence.strip()):
        return True
    return _SUBTITLES.fullmatch(plain) is not None


def is_loop(words: Sequence[str], compression_ratio: float = 2.4) -> bool:
    """Tell whether words say the same over and over, as decoders do that got stuck."""
    raw = join(words).encode()
    if len(raw) > 80 and len(raw) / len(zlib.compress(raw)) > compression_ratio:
        return True
    sentences = [_plain(join(words[start:end])) for start, end in _sentences(words)]
    return len(sentences) >= 4 and len(set(sentences)) == 1


def _before_signature(sentence: Sequence[str]) -> int:
    """Return how many words stand before what nobody says."""
    for count in range(1, len(sentence) + 1):
        if found := _SIGNATURES.search(_simplified().convert(join(sentence[:count]))):
            for before in range(count):
                if len(join(sentence[: before + 1])) > found.start():
                    return before
    return len(sentence)


def _sentences(words: Sequence[str]) -> list[tuple[int, int]]:
    ends = [place + 1 for place, word in enumerate(words) if _SENTENCE_END.search(word)]
    edges = sorted({0, *ends, len(words)})
    return list(pairwise(edges))


def _plain(sentence: str) -> str:
    """Return a sentence in simplified characters without marks."""
    text = str(_simplified().convert(sentence)).replace("’", "'")
    return _MARKS_AT_ENDS.sub("", " ".join(_INNER_MARKS.sub(" ", text).split()))


@cache
def _simplified() -> opencc.OpenCC:
    return opencc.OpenCC("t2s")
