"""English sentences from a small grammar: any number, all different, the same for a seed."""

import random
from collections.abc import Sequence
from typing import TypeVar

from audio_vq.data.corpora.synthetic import words

Choice = TypeVar("Choice")

DETERMINERS = (
    "the",
    "the",
    "the",
    "a",
    "this",
    "that",
    "my",
    "your",
    "our",
    "their",
    "his",
    "her",
    "each",
    "another",
)
ANYTHING = (words.PEOPLE, words.ANIMALS, words.THINGS, words.THINGS)  # things twice: drawn twice as often
ANYONE = (words.PEOPLE, words.PEOPLE, words.ANIMALS)
SPELT_WITH_A_VOWEL_SPOKEN_WITHOUT = ("use", "usual")  # they begin with the sound of "you"


def sentences(count: int, seed: int) -> list[str]:
    """The first `count` sentences of a seed; a larger count begins with the same ones."""
    grammar = Grammar(seed)
    found: dict[str, None] = {}  # a set that keeps its order
    while len(found) < count:
        found[grammar.sentence()] = None
    return list(found)


class Grammar:
    """Draws sentences, one after another."""

    def __init__(self, seed: int) -> None:
        # only random() is promised to stay the same from one Python to the next
        self._draw = random.Random(seed).random
        self._patterns = (
            lambda: f"{self._someone()} {self._past()} {self._thing(ANYTHING)}{self._ending()}",
            lambda: f"{self._someone()} {self._one(words.PAST_INTRANSITIVE)} {self._place()}{self._ending()}",
            self._description,
            self._request,
            self._question,
            lambda: f"{self._someone()} {self._past()} {self._several(0.55)} {self._place()}",
            lambda: f"there {self._one(('are', 'were'))} {self._several(0.8)} {self._place()}{self._ending()}",
            lambda: f"{self._one(words.OPENINGS)} {self._someone()} {self._past()} {self._thing(ANYTHING)}",
            self._event,
            self._deed,
            self._pair,
            self._substance,
            self._advice,
            self._prohibition,
        )

    def sentence(self) -> str:
        text = self._one(self._patterns)()
        return text[0].upper() + text[1:] + ("" if text.endswith("?") else ".")

    def _description(self) -> str:
        subject = f"{self._thing(ANYTHING)} {self._place()}"
        return f"{subject} {self._one(words.COPULAS)} {self._adjective(1)}and {self._one(words.ADJECTIVES)}"

    def _request(self) -> str:
        first = f"please {self._one(words.INFINITIVES)} {self._thing((words.THINGS,))}"
        return f"{first} and {self._one(words.INFINITIVES)} {self._the_thing(0.55)}{self._ending()}"

    def _question(self) -> str:
        start = f"{self._one(words.QUESTIONS)} {self._one(words.PRONOUNS)}"
        return f"{start} {self._one(words.INFINITIVES)} {self._thing((words.THINGS,))}{self._ending()}?"

    def _event(self) -> str:
        verb = self._one(words.PAST_INTRANSITIVE)
        return f"{self._someone()} {verb} {self._one(words.ADVERBS)}, {self._one(words.CLAUSES)}"

    def _deed(self) -> str:
        deed = f"{self._someone()} {self._past()} {self._the_thing(0.55)}"
        return f"{self._one(words.TIMES)}, {deed} with {self._thing((words.THINGS,))}"

    def _pair(self) -> str:
        people = f"{self._one(words.NAMES)} and {self._one(words.NAMES)}"
        substance = f"{self._adjective(0.3)}{self._one(words.MASS_NOUNS)}"
        return f"{people} {self._past()} some {substance}{self._ending()}"

    def _substance(self) -> str:
        subject = f"the {self._one(words.MASS_NOUNS)} {self._place()} {self._one(words.COPULAS)}"
        quality = f"{self._one(words.ADVERBS)} {self._one(words.ADJECTIVES)}"
        return f"{subject} {quality}, {self._one(words.CLAUSES)}"

    def _advice(self) -> str:
        verb = f"{self._one(words.PRONOUNS)} should {self._one(words.INFINITIVES)}"
        return f"{verb} {self._thing((words.THINGS,))}, {self._one(words.CLAUSES)}"

    def _prohibition(self) -> str:
        first = f"do not {self._one(words.INFINITIVES)} {self._the_thing(0.9)}"
        return f"{first}; {self._one(words.INFINITIVES)} {self._thing((words.THINGS,))} instead"

    def _one(self, choices: Sequence[Choice]) -> Choice:
        return choices[int(self._draw() * len(choices))]

    def _past(self) -> str:
        return self._one(words.PAST_TRANSITIVE)

    def _adjective(self, probability: float) -> str:
        """An adjective and a space, or nothing."""
        return f"{self._one(words.ADJECTIVES)} " if self._draw() < probability else ""

    def _several(self, probability: float) -> str:
        return f"{self._one(words.NUMBERS)} {self._adjective(probability)}{self._one(words.PLURALS)}"

    def _the_thing(self, probability: float) -> str:
        return f"the {self._adjective(probability)}{self._one(words.THINGS)}"

    def _thing(self, kinds: Sequence[Sequence[str]]) -> str:
        """A determiner, perhaps an adjective, and a noun of one of these kinds."""
        phrase = self._adjective(0.55) + self._one(self._one(kinds))
        determiner = self._one(DETERMINERS)
        if determiner == "a" and phrase.startswith(tuple("aeiou")):
            determiner = "a" if phrase.startswith(SPELT_WITH_A_VOWEL_SPOKEN_WITHOUT) else "an"
        return f"{determiner} {phrase}"

    def _someone(self) -> str:
        return self._one(words.NAMES) if self._draw() < 0.3 else self._thing(ANYONE)

    def _place(self) -> str:
        return f"{self._one(words.PREPOSITIONS)} the {self._adjective(0.3)}{self._one(words.PLACES)}"

    def _ending(self) -> str:
        """An adverb, a time, a place or nothing, with a space before it."""
        draw = self._draw()
        if draw < 0.3:
            return ""
        if draw < 0.5:
            return f" {self._one(words.ADVERBS)}"
        return f" {self._one(words.TIMES) if draw < 0.75 else self._place()}"
