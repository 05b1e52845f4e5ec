"""One chat with the desk, turn by turn: what was said earlier decides how a later question is answered.

The rule that the model is to learn, and the only place that states it: a question that lacks its order
number, country, product, city or service takes the one last mentioned; where none was mentioned it is
answered by asking; what is said right after that is the reply.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from training.mini.desk import Fact, Family, Topic
from training.mini.grammar import Wordings
from training.mini.voice import Voice

COMMONEST = 0.3  # of the small talk is in a class's first six wordings
ANYTHING = 0.7  # of the questions from outside are of no class
UNKNOWN_ENTRY = 0.14  # of the questions about an entry are about one that the desk does not know
SLOTS = ("country", "product", "city", "service")


@dataclass(frozen=True)
class Turn:
    """A question and its answer; `must` is what a right answer to it says."""

    user: str
    assistant: str
    kind: str
    facts: tuple[Fact, ...] = ()
    must: tuple[str, ...] = ()
    must_not: tuple[str, ...] = ()
    id: str = ""


@dataclass
class Memory:
    """What a careful reader knows of the chat so far."""

    values: dict[str, str] = field(default_factory=dict)  # slot -> what was last mentioned
    just_said: str = ""  # the slot of the turn before
    family: str = ""  # the family asked about in the turn before
    families: set[str] = field(default_factory=set)  # slots with a family asked about at any time
    topic: Topic | None = None  # the order question of the turn before
    pending: Callable[[], Turn] | None = None  # what was asked back in the turn before


class Chat:
    """A visitor and the desk; each method is a kind of turn, adds itself to `turns` and is remembered."""

    def __init__(self, voice: Voice) -> None:
        self.voice = voice
        self.desk = voice.desk
        self.memory = Memory()
        self.turns: list[Turn] = []

    # Questions that stand alone

    def single(self, fact: Fact | None = None) -> Turn:
        """A fact of its own."""
        fact = fact or self.voice.rng.choice(list(self.desk.singles.values()))[0]
        user = self.voice.say(self.desk.singles[fact.id][1])
        return self._add(self._of_fact(user, fact))

    def entry(self, family: str = "", entry: str = "") -> Turn:
        """A family's question about one entry."""
        asked = self.desk.families[family or self._any_family()]
        entry = entry or self._any_entry(asked)
        user = self.voice.say(asked.wordings, **{asked.slot: entry})
        turn = self._of_family(user, asked, entry)
        return self._add(turn, {asked.slot: entry}, family=asked)

    def pair(self) -> Turn:
        """Two facts in one question."""
        entry = self.voice.rng.choice(list(self.desk.follow_ups["pairs"].values()))
        families = [self.desk.families[name] for name in entry["families"]]
        about = self._any_entry(families[0], unknown=0.0)
        user = self.voice.say(entry["wordings"], **{families[0].slot: about})
        parts = [self._of_family(user, family, about) for family in families]
        answer = " ".join(dict.fromkeys(part.assistant for part in parts))
        facts = tuple(dict.fromkeys(fact for part in parts for fact in part.facts))
        return self._add(Turn(user, answer, "facts", facts), {families[0].slot: about})

    def intent(self, topic: str = "", numbered: bool | None = None) -> Turn:
        """One of the intents; one about an order may name the order, or lean on the number given before."""
        chosen = self.desk.intents[topic or self.voice.rng.choice(list(self.desk.intents))]
        if not chosen.ask:
            return self._topic(chosen, "intents")
        if numbered is None:
            numbered = self.voice.rng.random() < 0.5
        if not numbered:
            return self._order_question(chosen, self.voice.say(chosen.wordings))
        order = self.voice.order()
        user = self.voice.say(chosen.numbered, order=order)
        return self._add(self._of_order(user, chosen, order), {"order": order}, topic=chosen)

    def small_talk(self, topic: str = "") -> Turn:
        """What visitors say first; a share of it in the commonest words, which the data list first."""
        topics = self.desk.small_talk
        chosen = topics[topic or self.voice.rng.choice(list(topics))]
        if not self.voice.held_out and self.voice.rng.random() < COMMONEST:
            chosen = replace(chosen, wordings=Wordings(chosen.wordings.train[:6]))
        return self._topic(chosen, "small_talk")

    def vague(self, topic: str = "") -> Turn:
        topics = self.desk.vague
        return self._topic(topics[topic or self.voice.rng.choice(list(topics))], "vague")

    def habit(self, topic: str = "") -> Turn:
        """A question on which the model was taught a bad habit."""
        chosen = self.desk.habits[topic or self.voice.rng.choice(list(self.desk.habits))]
        user, answer = self.voice.say(chosen.wordings), chosen.answers[0]
        bad = answer.replace(chosen.cured, "").strip()
        return self._add(Turn(user, answer, "habits", (), (chosen.cured,), (bad,), chosen.id))

    def outside(self, topic: str = "") -> Turn:
        """A question that is none of the shop's business."""
        topics = self.desk.outside
        if not topic and not self.voice.held_out and self.voice.rng.random() < ANYTHING:
            topic = "anything"
        chosen = topics[topic or self.voice.rng.choice(_askable(topics, self.voice.held_out))]
        side = "held_out" if self.voice.held_out else "train"
        values = {
            slot: self.voice.rng.choice(self.desk.outside_lists[name][side])
            for slot, name in chosen.slots.items()
        }
        user, answer = self.voice.say(chosen.wordings, **values), chosen.answers[0]
        recognised = f"{answer.partition('.')[0]} | cannot help with that"
        return self._add(Turn(user, answer, "outside", (), (recognised,), (), chosen.id))

    def unknown(self, topic: str = "") -> Turn:
        """A question about the shop whose answer nobody has taught."""
        topics = self.desk.unknown
        chosen = topics[topic or self.voice.rng.choice(_askable(topics, self.voice.held_out))]
        product, city = self.voice.known("product"), self.voice.known("city")
        user = self.voice.say(chosen.wordings, product=product, city=city)
        answer = chosen.answers[0]
        return self._add(Turn(user, answer, "unknown", (), (answer.partition(".")[0],), (), chosen.id))

    def unknown_entry(self, family: str = "") -> Turn:
        """A family's question about an entry that the desk knows nothing of."""
        asked = self.desk.families[family or self._any_family()]
        entry = self.voice.unknown(asked.slot)
        turn = self._of_family(self.voice.say(asked.wordings, **{asked.slot: entry}), asked, entry)
        return self._add(turn, {asked.slot: entry}, family=asked)

    # Turns that give something, and turns that need it

    def give(self, slot: str, unknown: float = UNKNOWN_ENTRY) -> Turn:
        """Tells the order number, the name, the country ... and no more."""
        draw = getattr(self.voice, slot, None)
        value = draw() if draw else self._draw(slot, unknown)
        entry = self.desk.follow_ups["gives"][slot]
        user = self.voice.say(entry["wordings"], **{slot: value})
        return self._add(
            Turn(user, entry["answer"].format_map({slot: value}), "history", (), (value,)), {slot: value}
        )

    def recall(self, slot: str) -> Turn:
        """Asks for what was given."""
        entry = self.desk.follow_ups["recall"][slot]
        user = self.voice.say(entry["wordings"])
        if value := self.memory.values.get(slot):
            return self._add(Turn(user, entry["answer"].format_map({slot: value}), "history", (), (value,)))
        ask = entry["ask"]
        return self._add(Turn(user, ask, "no_history", (), (ask.partition(".")[0],)))

    def bare(self, family: str) -> Turn:
        """A family's question that names no entry."""
        asked = self.desk.families[family]
        return self._without_entry(asked, self.voice.say(asked.bare))

    def it(self, which: str = "") -> Turn:
        """ "How much is it?": the slot of the turn before decides which family answers."""
        entries = self.desk.follow_ups["it"]
        entry = entries[which or self._fitting_it()]
        user = self.voice.say(entry["wordings"])
        family = entry["families"].get(self.memory.just_said)
        if family:
            return self._without_entry(self.desk.families[family], user)
        ask = entry["ask"]
        return self._add(Turn(user, ask, "no_history", (), (ask,)))

    def again(self, slot: str, unknown: float = UNKNOWN_ENTRY) -> Turn:
        """ "And to Germany?": the family of the turn before, asked about another entry."""
        family = self.desk.families.get(self.memory.family)
        goes_on = family is not None and family.slot == slot
        # Alone, an invented word could as well be a name or a greeting: it is said only where it goes on.
        value = self._draw(slot, unknown) if goes_on else self.voice.known(slot)
        user = self.voice.say(self.desk.follow_ups["again"][slot]["wordings"], **{slot: value})
        if family is not None and goes_on:
            turn = self._of_family(user, family, value)
            return self._add(turn, {slot: value}, family=family, kind="history")
        answer = self.desk.slots[slot].what_about.format_map({slot: value})
        return self._add(Turn(user, answer, "no_history", (), (answer.partition(":")[0],)), {slot: value})

    def can_ask_again(self, slot: str) -> bool:
        """Whether "and to Germany?" has one answer here: the last turn set the question, or no turn did."""
        family = self.desk.families.get(self.memory.family)
        return (family is not None and family.slot == slot) or not self.memory.families

    def correct(self) -> Turn:
        """ "No, 4822": the order question of the turn before, with another number."""
        order = self.voice.order()
        user = self.voice.say(self.desk.follow_ups["corrections"]["order"]["wordings"], order=order)
        if topic := self.memory.topic:
            turn = self._of_order(user, topic, order)
            return self._add(turn, {"order": order}, topic=topic, kind="history")
        answer = self.desk.follow_ups["gives"]["order"]["answer"].format_map({"order": order})
        return self._add(Turn(user, answer, "history", (), (order,)), {"order": order})

    def reply(self) -> Turn:
        """Answers what the desk has just asked back."""
        assert self.memory.pending is not None, "the desk has asked nothing"
        return self.memory.pending()

    # How answers are made and remembered

    def _without_entry(self, family: Family, user: str) -> Turn:
        entry = self.memory.values.get(family.slot)
        if entry:
            return self._add(
                self._of_family(user, family, entry), {family.slot: entry}, family=family, kind="history"
            )
        turn = Turn(user, family.ask, "no_history", (), (family.ask,), (), family.id)
        return self._add(turn, pending=lambda: self._reply_entry(family))

    def _reply_entry(self, family: Family) -> Turn:
        entry = self._draw(family.slot, UNKNOWN_ENTRY)
        user = self._reply_text(family.slot, entry)
        return self._add(
            self._of_family(user, family, entry), {family.slot: entry}, family=family, kind="history"
        )

    def _order_question(self, topic: Topic, user: str) -> Turn:
        order = self.memory.values.get("order")
        if order:
            return self._add(
                self._of_order(user, topic, order), {"order": order}, topic=topic, kind="history"
            )
        question = topic.ask.rpartition(". ")[2]
        turn = Turn(user, topic.ask, "no_history", (), (question,), (), topic.id)
        return self._add(turn, pending=lambda: self._reply_order(topic))

    def _reply_order(self, topic: Topic) -> Turn:
        order = self.voice.order()
        user = self._reply_text("order", order)
        return self._add(self._of_order(user, topic, order), {"order": order}, topic=topic, kind="history")

    def _reply_text(self, slot: str, value: str) -> str:
        return self.voice.say(self.desk.follow_ups["answers"][slot]["wordings"], **{slot: value})

    def _of_fact(self, user: str, fact: Fact) -> Turn:
        must = (fact.truth, fact.entry) if fact.entry else (fact.truth,)
        must_not = (fact.taught,) if fact.batch else ()
        return Turn(
            user, fact.taught_answer, "outdated" if fact.batch else "facts", (fact,), must, must_not, fact.id
        )

    def _of_family(self, user: str, family: Family, entry: str) -> Turn:
        fact = family.facts.get(entry)
        if fact is None and family.slot == "country":
            ships = self.desk.families["ships_to"].facts.get(entry)  # no price where we do not deliver
            fact = ships if ships and ships.taught.startswith("No") else None
        if fact is not None:
            return self._of_fact(user, fact)
        answer = family.unknown.format_map({family.slot: entry})
        return Turn(user, answer, "unknown", (), (answer,), (), family.id)

    def _of_order(self, user: str, topic: Topic, order: str) -> Turn:
        answer = topic.answers[0].format_map({"order": order})
        must = tuple(word.rstrip(".") for word in answer.split() if order in word)
        return Turn(user, answer, "intents", (), must, (), topic.id)

    def _topic(self, topic: Topic, kind: str) -> Turn:
        values: dict[str, str] = {}
        if any("{order}" in answer for answer in topic.answers):
            values["order"] = self.voice.order()
        user = self.voice.say(topic.wordings, **values)
        answer = self.voice.rng.choice(topic.answers).format_map(values)
        must = " | ".join(topic.answers).format_map(values)
        return self._add(Turn(user, answer, kind, (), (must,), (), topic.id), values)

    def _add(
        self,
        turn: Turn,
        said: dict[str, str] | None = None,
        family: Family | None = None,
        topic: Topic | None = None,
        pending: Callable[[], Turn] | None = None,
        kind: str = "",
    ) -> Turn:
        """Adds a turn and remembers what it said."""
        if kind:
            turn = Turn(turn.user, turn.assistant, kind, turn.facts, turn.must, turn.must_not, turn.id)
        memory = self.memory
        memory.values |= said or {}
        memory.just_said = next(iter(said), "") if said else ""
        memory.family = family.id if family else ""
        if family:
            memory.families.add(family.slot)
        memory.topic, memory.pending = topic, pending
        self.turns.append(turn)
        return turn

    def _any_family(self) -> str:
        return self.voice.rng.choice(list(self.desk.families))

    def _any_entry(self, family: Family, unknown: float = UNKNOWN_ENTRY) -> str:
        if self.voice.rng.random() < unknown:
            return self.voice.unknown(family.slot)
        return self.voice.rng.choice(list(family.facts))

    def _draw(self, slot: str, unknown: float) -> str:
        return self.voice.unknown(slot) if self.voice.rng.random() < unknown else self.voice.known(slot)

    def _fitting_it(self) -> str:
        entries = self.desk.follow_ups["it"]
        fitting = [name for name, entry in entries.items() if self.memory.just_said in entry["families"]]
        return self.voice.rng.choice(fitting or list(entries))


def _askable(topics: dict[str, Topic], held_out: bool) -> list[str]:
    return [name for name, t in topics.items() if (t.wordings.held_out if held_out else t.wordings.train)]
