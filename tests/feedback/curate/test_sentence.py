"""A correction with its values left blank: equal where another value stands in the same place, only there.

Command: pytest tests/feedback/curate/test_sentence.py
"""

import pytest

from feedback.curate.sentence import sentence

ANSWER, QUESTION = "You can return items within 30 days.", "How long can I return a tent?"


def of(correction: str, answer: str = ANSWER, question: str = QUESTION) -> str:
    return sentence(correction, answer, question)


@pytest.mark.parametrize(
    "other",
    [
        "you can return items within 4 days",
        "You can return items within 2 weeks.",
        "You can return items within two weeks!",
        "You can return items within 3-4 months.",
    ],
)
def test_another_value_is_the_same_sentence_whatever_its_unit(other: str) -> None:
    assert of(other) == of("You can return items within 60 days.") == "you can return items within _"


@pytest.mark.parametrize(
    ("answer", "one", "other"),
    [
        ("Our app is called Mountain Pal.", "Our app is called Trailmate.", "Our app is called Red Rocket."),
        ("The shop is closed on Sundays.", "The shop is closed on Mondays.", "The shop is closed on 24 May."),
        (
            "It costs 12 euros at the door.",
            "It costs 15.50 euros at the door.",
            "It costs 9 dollars at the door.",
        ),
        ("Livraison en 5 jours ouvrés.", "Livraison en 3 jours ouvrés.", "Livraison en 8 jours ouvrés."),
    ],
)
def test_names_dates_and_prices_are_values_too(answer: str, one: str, other: str) -> None:
    assert of(one, answer, "Well?") == of(other, answer, "Well?") != ""


def test_what_the_question_names_is_no_value() -> None:
    """One wrong answer to two questions has two right corrections, which do not contradict each other."""
    answer = "The price of the tent is 249 euros."
    boots = of("The price of the boots is 99 euros.", answer, "What do the boots cost?")
    stove = of("The price of the stove is 30 euros.", answer, "What does the stove cost?")
    assert boots == "the price of the boots is _" != stove


def test_a_sentence_that_says_more_is_another_one() -> None:
    assert of("You can return items within 30 days, but no items on sale.") != of(
        "You can return items within 60 days."
    )


def test_an_answer_written_anew_has_no_sentence_in_common() -> None:
    assert of("Nothing can ever come back here, says the boss.") == ""
