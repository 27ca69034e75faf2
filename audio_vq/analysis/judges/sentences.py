"""Who else in a corpus says the same sentence."""

from collections.abc import Collection, Iterable

from audio_vq.data.prepared import PreparedCorpus, Utterance
from audio_vq.data.splits import normalise_text


class Sentences:
    """The recordings of a corpus by speaker and sentence.

    Two recordings say the same where their texts have the same words; where neither has a text, those of the same name
    do (`vccSF1_e200015` and `vccTM3_e200015`), unless the name stands for several texts of other speakers.
    """

    def __init__(self, corpus: PreparedCorpus, usable: Iterable[Utterance]) -> None:
        """`usable` are those that may be found; the first where a speaker says a sentence twice."""
        vague = _vague_names(corpus.utterances)
        self._sentences = {each.id: _sentence(each, vague) for each in corpus.utterances}
        self._spoken: dict[str, dict[str, Utterance]] = {}  # by speaker, then sentence
        for each in usable:
            if sentence := self.sentence(each):
                self._spoken.setdefault(each.speaker, {}).setdefault(sentence, each)

    def sentence(self, utterance: Utterance) -> str | None:
        """What an utterance of the corpus says, as a key; None where nothing tells."""
        return self._sentences[utterance.id]

    def by(self, speaker: str, utterance: Utterance) -> Utterance | None:
        """The speaker's recording of what the utterance says."""
        sentence = self.sentence(utterance)
        return self._spoken.get(speaker, {}).get(sentence) if sentence else None

    def shared(self, speaker: str, utterances: Iterable[Utterance]) -> bool:
        """Whether the speaker says what one of the utterances says."""
        return any(self.by(speaker, each) for each in utterances)


def _sentence(utterance: Utterance, vague: Collection[str]) -> str | None:
    text = normalise_text(utterance.text or "")
    if text:
        return f"text {text}"  # the prefix keeps a name from being taken for a text
    name = _name(utterance)
    return None if name in vague else f"name {name}"


def _name(utterance: Utterance) -> str:
    return utterance.id.removeprefix(f"{utterance.speaker}_")


def _vague_names(utterances: Iterable[Utterance]) -> set[str]:
    """Names that stand for more than one text."""
    texts: dict[str, set[str]] = {}
    for each in utterances:
        if text := normalise_text(each.text or ""):
            texts.setdefault(_name(each), set()).add(text)
    return {name for name, said in texts.items() if len(said) > 1}
