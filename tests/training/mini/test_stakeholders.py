"""Simulated stakeholders: who they are, what they ask, how they judge, and their flags in a real chat.

Command: pytest tests/training/mini/test_stakeholders.py
Promise: the bundled model answers; what they flag lies in an outbox on disk; offline.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

from bench.shop import Shop
from feedback.curate import controls
from feedback.curate.agreement import ACCEPTED, AGREED, states
from feedback.curate.candidate import Candidate
from feedback.curate.similar import normalised
from feedback.store.decisions import Decisions
from feedback.store.outbox import Outbox
from training.mini.desk import Fact, desk
from training.mini.evaluate import read_items
from training.mini.grammar import key
from training.mini.stakeholders.errands import Errand, errands, own_wordings
from training.mini.stakeholders.maintainer import review
from training.mini.stakeholders.person import crowd
from training.mini.stakeholders.reaction import poison_value, react
from training.mini.stakeholders.sheet import BATCHES, FactSheet, changed_facts, current_facts, wrong_value
from training.mini.stakeholders.visit import Guests, visit

SHEET = FactSheet(1)


def some_errands(count: int, seed: int = 1, **people: int) -> list[Errand]:
    return list(islice(errands(seed, changed_facts(1), crowd(seed, **people)), count))


def test_each_batch_holds_twelve_facts_and_no_fact_is_in_two() -> None:
    batches = [{fact.id for fact in changed_facts(batch)} for batch in range(1, BATCHES + 1)]
    assert [len(batch) for batch in batches] == [12] * BATCHES
    assert len(set().union(*batches)) == 12 * BATCHES


def test_a_sheet_knows_the_changes_up_to_its_batch_and_no_later_ones() -> None:
    first, second = changed_facts(1)[0], changed_facts(2)[0]
    assert SHEET.is_right(first, first.says(first.truth))
    assert not SHEET.is_right(first, first.taught_answer)
    assert SHEET.is_right(second, second.taught_answer)
    assert not FactSheet(2).is_right(second, second.taught_answer)


def test_the_right_value_for_another_country_or_product_is_wrong() -> None:
    fact = next(fact for fact in current_facts() if fact.entry)
    assert SHEET.is_right(fact, fact.taught_answer)
    assert not SHEET.is_right(fact, fact.taught_answer.replace(fact.entry, "moon boot"))


def test_a_question_is_asked_by_four_people_in_words_that_differ_in_case_and_marks_alone() -> None:
    asked = some_errands(80, honest=10)
    for start in range(0, 80, 4):
        four = asked[start : start + 4]
        assert len({one.person for one in four}) == 4
        assert len({normalised(one.question) for one in four}) == 1
    assert len({normalised(one.question) for one in asked}) == 20


def test_no_question_is_a_wording_of_the_evaluation() -> None:
    topics = [*changed_facts(1), *changed_facts(2), *current_facts(), *desk().habits.values()]
    for errand in islice(errands(3, topics, crowd(3, honest=8)), 2000):
        entry = getattr(errand.about, "entry", "")
        slot = desk().families[errand.about.family].slot if entry else ""
        skeleton = errand.question.lower().replace(entry.lower(), f"{{{slot}}}") if entry else errand.question
        assert key(skeleton) not in desk().held_out_keys


def test_people_have_words_of_their_own_that_neither_corpus_nor_evaluation_has() -> None:
    changed = [fact for batch in range(1, BATCHES + 1) for fact in changed_facts(batch)]
    own = own_wordings()
    assert set(own) == {fact.id for fact in changed} and min(map(len, own.values())) >= 12
    keys = [key(question) for questions in own.values() for question in questions]
    assert len(set(keys)) == len(keys)
    asked_by_exam = {key(item.messages[-1]["content"]) for item in read_items()}
    assert not asked_by_exam & set(keys)
    for fact in changed:
        heard = {key(one) for one in heard_in_training(fact)}
        assert not heard & {key(question) for question in own[fact.id]}, fact.id


def test_most_questions_about_what_changes_are_in_peoples_own_words() -> None:
    own = {key(question) for questions in own_wordings().values() for question in questions}
    asked = [key(one.question) for one in some_errands(200, honest=10)]
    assert 0.6 < sum(one in own for one in asked) / len(asked) < 0.9


def heard_in_training(fact: Fact) -> Iterator[str]:
    """Every wording of the fact that the corpus can draw."""
    if not fact.family:
        yield from desk().singles[fact.id][1].all_training()
        return
    family = desk().families[fact.family]
    for skeleton in family.wordings.all_training():
        yield skeleton.replace(f"{{{family.slot}}}", fact.entry)


def test_the_same_seed_gives_the_same_errands_and_another_seed_others() -> None:
    assert some_errands(40, honest=8) == some_errands(40, honest=8)
    assert some_errands(40, honest=8) != some_errands(40, seed=2, honest=8)


def test_what_is_asked_follows_from_the_seed_whoever_asks_it() -> None:
    of_few = {normalised(one.question) for one in some_errands(40, honest=6)}
    of_others = {normalised(one.question) for one in some_errands(40, poison=4)}
    assert of_few == of_others


def test_honest_people_correct_what_is_out_of_date_and_most_corrections_are_equal_but_for_spelling() -> None:
    corrections: Counter[str] = Counter()
    for errand in some_errands(240, honest=24):
        flag = react(errand, errand.about.taught_answer, SHEET)
        assert flag is not None and flag["verdict"] == "bad" and flag["reasons"] == ["outdated"]
        if "correction" in flag:
            corrections[normalised(flag["correction"]) == normalised(SHEET.answer(errand.about))] += 1
    assert corrections.total() > 210
    assert 0 < corrections[False] < 0.1 * corrections.total()


def test_honest_people_never_call_a_right_answer_wrong() -> None:
    flags = [react(one, SHEET.answer(one.about), SHEET) for one in some_errands(100, honest=10)]
    assert {flag["verdict"] for flag in flags if flag} == {"good"}
    assert None in flags


def test_a_gang_gives_one_wrong_answer_and_the_mistaken_give_answers_of_their_own() -> None:
    gang = some_errands(40, poison=5)
    for errand in gang:
        flag = react(errand, errand.about.taught_answer, SHEET)
        assert flag and flag["correction"] == errand.about.says(poison_value(errand.about))
    assert all(poison_value(one.about) not in (one.about.truth, one.about.taught) for one in gang)
    fact = changed_facts(1)[0]
    remembered = {wrong_value(fact, person.chance(fact.id)) for person in crowd(1, mistaken=6)}
    assert len(remembered) > 3


def test_flags_of_a_real_chat_agree_where_four_say_the_same_and_a_maintainer_accepts_no_others(
    state_folder: Path,
) -> None:
    fact = changed_facts(1)[0]
    with Shop.open(state_folder, "mini") as shop:
        guests = Guests(shop)
        visits = visit(guests, errands(5, [fact], crowd(5, honest=8)), SHEET, flags=16, at_once=2)
        bad = errands(6, [fact], crowd(5, control=1, personal=1, mistaken=1), askers=3)
        visits += visit(guests, bad, SHEET, flags=3, at_once=1)
    honest = {one.flag_id for one in visits if one.errand.person.kind == "honest"}
    with closing(Outbox(state_folder / "outbox.sqlite")) as outbox:
        flags = [Candidate.of(event, controls.pattern()) for event in outbox.standing()]
        assert {flag.flag_id for flag in flags} == {one.flag_id for one in visits}
        assert len({flag.contributor for flag in flags}) == 11
    review(state_folder, {one.flag_id: fact for one in visits}, SHEET)
    able = [flag for flag in flags if not flag.fault]
    agreed = [flag for flag in able if states(able, {})[flag.flag_id] == AGREED]
    assert len(agreed) >= 6 and {flag.flag_id for flag in agreed} <= honest
    assert {normalised(flag.correction) for flag in agreed} == {normalised(SHEET.answer(fact))}
    decided = states(able, Decisions.at_home().standing())
    accepted = {name for name, state in decided.items() if state == ACCEPTED}
    assert {flag.flag_id for flag in agreed} <= accepted <= honest
    assert {flag.fault for flag in flags if flag.fault} == {"control_tokens"}
