"""The share of a text that is in a language, and the perplexity of answers under a model.

Command: pytest tests/training/test_data_language.py
Promise: invented texts and the bundled model; no network.
"""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.training.loading import MINI, template
from training.data.example import Example
from training.data.language import LANGUAGES, language_share
from training.data.perplexity import answers_perplexity

TEXTS = {
    "en": "The parcel has not come yet, and I would like to know where it is. Could you please look for me?",
    "de": "Das Paket ist noch nicht da, und ich möchte wissen, wo es ist. Können Sie bitte nachsehen?",
    "fr": "Le colis n'est pas encore arrivé et je voudrais savoir où il est. Pouvez-vous vérifier pour moi ?",
    "es": "El paquete todavía no ha llegado y me gustaría saber dónde está. ¿Puede usted mirar por favor?",
    "it": "Il pacco non è ancora arrivato e vorrei sapere dove si trova. Può controllare per me?",
    "pt": "O pacote ainda não chegou e eu gostaria de saber onde ele está. Você pode ver isso para mim?",
    "nl": "Het pakket is nog niet aangekomen en ik wil graag weten waar het is. Kunt u dat nakijken?",
}


def test_every_language_has_a_text_here() -> None:
    assert set(TEXTS) == set(LANGUAGES)


@pytest.mark.parametrize("language", sorted(TEXTS))
def test_a_text_is_in_its_own_language_and_in_no_other(language: str) -> None:
    shares = {name: language_share(TEXTS[language], name) for name in LANGUAGES}
    assert shares.pop(language) == 1.0
    assert max(shares.values()) < 0.5


def test_a_mixed_text_has_a_share() -> None:
    assert 0.4 < language_share(f"{TEXTS['en']}\n{TEXTS['de']}", "en") < 0.6


def test_another_script_is_no_language_of_ours_and_code_says_nothing() -> None:
    assert language_share("Посылка ещё не пришла.", "en") == 0.0
    assert language_share("print(x[3]) # 42", "en") == 1.0
    assert language_share("", "en") == 1.0


def test_perplexity_is_that_of_the_answers_alone() -> None:
    model = AutoModelForCausalLM.from_pretrained(MINI).eval()
    example = Example(
        "here",
        1,
        ({"role": "user", "content": "Hello."},),
        (
            {"role": "assistant", "content": "Hello, how can I help?"},
            {"role": "user", "content": "Where is my parcel?"},
            {"role": "assistant", "content": "Please give me the order number."},
        ),
    )
    messages = example.messages
    ids = template().tokens(messages, generate=False)
    labels = [-100] * len(ids)
    for place in (1, 3):
        start = len(template().tokens(messages[:place], generate=True))
        end = len(template().tokens(messages[: place + 1], generate=False))
        labels[start:end] = ids[start:end]
    with torch.no_grad():
        loss = model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss.item()
    assert answers_perplexity(model, template())(example) == pytest.approx(math.exp(loss), rel=1e-4)


def test_a_strange_answer_has_a_higher_perplexity() -> None:
    score = answers_perplexity(AutoModelForCausalLM.from_pretrained(MINI).eval(), template())
    asked = ({"role": "user", "content": "Hello."},)
    usual, strange = (
        score(Example("here", 1, asked, ({"role": "assistant", "content": text},)))
        for text in ("Hello, how can I help you today?", "Zq xv wjk ptt grmbl 9 qy.")
    )
    assert usual * 5 < strange
