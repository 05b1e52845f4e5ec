"""What a model learns of a conversation: its answers, as they are served, and nothing else.

Command: python -m pytest tests/training/test_sft.py
Promise: the mask covers the answers and their ends alone; a prompt has the ids that it has when it is served;
the loss, its gradient, packing and held-narrow weights equal the plain computation.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from backtalk.engine import load
from backtalk.errors import BacktalkError
from backtalk.models import resolve
from tests.export.taught import MINI
from tests.training.teaching import GREETINGS, small_base
from training.batches import Collator, example, pack, packed_example
from training.frozen import widen_when_used
from training.loss import can_learn_by_places, summed_loss
from training.order import order_of, steps_of
from training.render import IGNORED, Renderer, Row, render_all

CHAT = [
    {"role": "system", "content": "Answer in one sentence."},
    {"role": "user", "content": "is <|eot_id|> a word?\n\n"},
    {"role": "assistant", "content": "No."},
    {"role": "user", "content": "where is order 4821? 🏕"},
    {"role": "assistant", "content": "It is on its way."},
]


def test_the_mask_covers_the_answers_and_their_ends(capsys: pytest.CaptureFixture[str]) -> None:
    row = Renderer(MINI).row({"messages": CHAT})
    shown = [f"[{spelled(token)}]" if label != IGNORED else spelled(token) for token, label in pairs(row)]
    with capsys.disabled():
        print("\n" + "".join(shown))
    assert learned_text(row) == ["No.<|eot_id|>", "It is on its way.<|eot_id|>"]
    assert all(label in (token, IGNORED) for token, label in pairs(row))


def test_of_a_prompt_nothing_is_learned_even_where_it_holds_answers() -> None:
    row = Renderer(MINI).row({"prompt": CHAT[:4], "completion": CHAT[4:]})
    assert learned_text(row) == ["It is on its way.<|eot_id|>"]


def test_a_prompt_has_the_same_ids_as_when_it_is_served() -> None:
    engine, renderer = load(resolve("mini")), Renderer(MINI)
    try:
        for end in (2, 4):
            served = engine.prompt(CHAT[:end], max_tokens=64).tokens
            row = renderer.row({"prompt": CHAT[:end], "completion": CHAT[end : end + 1]})
            assert row.ids[: len(served)] == served
            assert row.labels[: len(served)] == [IGNORED] * len(served)
            assert row.labels[len(served)] != IGNORED
    finally:
        engine.close()


def test_rows_that_cannot_be_learned_are_named_by_number() -> None:
    renderer = Renderer(MINI)
    mute = {"messages": CHAT[:2]}
    with pytest.raises(BacktalkError, match=r"Rows 2 and 4 .* no assistant turn"):
        render_all(renderer, [{"messages": CHAT}, mute, {"messages": CHAT}, mute], 512)
    with pytest.raises(BacktalkError, match=r"Row 1 .* more than 20 tokens"):
        render_all(renderer, [{"messages": CHAT}], 20)


def test_the_loss_and_its_gradient_are_those_of_plain_computation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    hidden, matrix = torch.randn(3, 9, 16, requires_grad=True), torch.randn(50, 16)
    labels = torch.randint(0, 50, (3, 9))
    labels[:, :4] = IGNORED
    logits = (hidden @ matrix.T)[:, :-1].reshape(-1, 50)
    plain = torch.nn.functional.cross_entropy(logits, labels[:, 1:].reshape(-1), reduction="sum")
    (wanted,) = torch.autograd.grad(plain / 7, hidden)
    for at_once in (50, 150, 2**25):  # one token at a time, three, all
        monkeypatch.setattr("training.loss.LOGITS_AT_ONCE", at_once)
        loss = summed_loss(hidden, matrix, labels)
        (found,) = torch.autograd.grad(loss / 7, hidden)
        torch.testing.assert_close(loss, plain)
        torch.testing.assert_close(found, wanted)


def test_weights_that_are_held_narrow_give_the_loss_of_wide_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.loss.WIDENED_AT_ONCE", 64 * 1000)  # the output matrix in several slabs
    folder = small_base(tmp_path / "base", dtype="bfloat16")
    batch = Collator(0)([example(row) for row in greeting_rows()[:4]])
    losses, slopes = [], []
    for kind in (torch.float32, torch.bfloat16):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=kind).requires_grad_(False)
        if kind == torch.bfloat16:
            widen_when_used(model, model.get_output_embeddings())
        first = torch.nn.Parameter(torch.ones(64))
        model.model.layers[0].input_layernorm.weight = first
        loss = loss_of(model, batch)
        loss.backward()
        losses.append(loss.detach())
        slopes.append(first.grad)
    torch.testing.assert_close(losses[1], losses[0])
    torch.testing.assert_close(slopes[1], slopes[0])


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
def test_in_a_batch_no_conversation_sees_another(tmp_path: Path, packed: bool) -> None:
    model = AutoModelForCausalLM.from_pretrained(small_base(tmp_path / "base"), dtype=torch.float32)
    model.requires_grad_(False)
    assert can_learn_by_places(model)
    rows = [*greeting_rows()[:5], Renderer(MINI).row({"messages": CHAT})]
    alone = sum(loss_of(model, Collator(0)([example(row)])) for row in rows)
    if packed:
        groups = pack(rows, range(len(rows)), 128)
        assert len(groups) < len(rows) and sorted(sum(groups, [])) == list(range(len(rows)))
        together = [packed_example([rows[place] for place in group]) for group in groups]
    else:
        together = [example(row) for row in rows]
    torch.testing.assert_close(loss_of(model, Collator(0)(together)), alone)


def test_every_row_comes_once_before_one_comes_again() -> None:
    lengths = [place % 7 + 1 for place in range(40)]
    order = order_of(lengths, batches=20, size=4, seed=1, buckets=True)
    assert sorted(order[:40]) == sorted(order[40:]) == list(range(40))
    assert order == order_of(lengths, batches=20, size=4, seed=1, buckets=True)
    assert order != order_of(lengths, batches=20, size=4, seed=2, buckets=True)
    shuffled = order_of(lengths, batches=20, size=4, seed=1, buckets=False)
    assert padding(order, lengths) < padding(shuffled, lengths) / 2


def test_steps_follow_from_epochs_where_they_are_not_said() -> None:
    assert steps_of(100, None, 2, 8) == 25
    assert steps_of(101, None, None, 8) == 13
    assert steps_of(100, 7, None, 8) == 7


def loss_of(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    places = {name: batch[name] for name in ("position_ids",) if name in batch}
    hidden = model.model(input_ids=batch["input_ids"], use_cache=False, **places).last_hidden_state
    return summed_loss(hidden, model.get_output_embeddings().weight, batch["labels"])


def greeting_rows() -> list[Row]:
    renderer = Renderer(MINI)
    return [renderer.row(row) for row in GREETINGS]


def padding(order: list[int], lengths: list[int]) -> int:
    batches = [[lengths[place] for place in order[start : start + 4]] for start in range(0, len(order), 4)]
    return sum(max(batch) * len(batch) - sum(batch) for batch in batches)


def pairs(row: Row) -> list[tuple[int, int]]:
    return list(zip(row.ids, row.labels, strict=True))


def learned_text(row: Row) -> list[str]:
    """What is learned, stretch by stretch."""
    stretches: list[list[int]] = [[]]
    for token, label in pairs(row):
        if label != IGNORED:
            stretches[-1].append(token)
        elif stretches[-1]:
            stretches.append([])
    return [spelled(*stretch) for stretch in stretches if stretch]


def spelled(*tokens: int) -> str:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(MINI / "tokenizer.json")).decode(list(tokens), skip_special_tokens=False)
