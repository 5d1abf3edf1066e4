"""Mark what a reader does not want to read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from atrium_meeting.app.ports import Cleaner
from atrium_meeting.domain.transcript import Utterance, is_unspaced


def mark_disfluencies(cleaner: Cleaner, utterances: Sequence[Utterance]) -> list[Utterance]:
    """Return the utterances with their words marked, whatever was marked before. Blocks.

    Those of one language are given to the cleaner together, in order.
    """
    by_language: dict[str, list[int]] = defaultdict(list)
    for place, utterance in enumerate(utterances):
        by_language[language_of(utterance)].append(place)
    marked = list(utterances)
    for language, places in by_language.items():
        texts = [[word.text for word in utterances[place].words] for place in places]
        for place, labels in zip(places, cleaner.mark(language, texts), strict=True):
            words = tuple(
                replace(word, disfluency=label)
                for word, label in zip(utterances[place].words, labels, strict=True)
            )
            marked[place] = replace(utterances[place], words=words)
    return marked


def language_of(utterance: Utterance) -> str:
    """Return the language of an utterance, from its characters where it is not known."""
    if utterance.language:
        return utterance.language
    return "zh" if any(is_unspaced(word.text[0]) for word in utterance.words) else "en"
