"""Training the miniature: rows are packed whole, learned once, and a killed build goes on where it was."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from backtalk.card import read_card
from backtalk.errors import BacktalkError
from backtalk.files import sha256_of
from backtalk.progress import Progress
from training.mini import checkpoint, corpus, model, release
from training.mini.batches import Batch, attention_mask, chapter_batches, pack
from training.mini.build import OUT, Speed, fingerprint_of, new_trainer, tokenizer_of, train
from training.mini.muon import Muon, orthogonal
from training.mini.recipe import LONGEST, Recipe
from training.mini.tokenizer import PAD, Row, RowWriter, id_of
from training.mini.trainer import Trainer

RECIPE = Recipe(
    tokens=1800,
    rows_per_step=2,
    row_length=128,
    chapter=40,
    long_rows=0,
    checkpoint_every=2,
    restart=1.0,
    seed=5,
)


SMALL = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "head_dim": 16}
"""Of the miniature's shape; what is shown here is the training's, and holds for any size."""


class Killed(BaseException):
    """What a test raises in place of a kill."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "SHAPE", model.SHAPE | SMALL)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return tokenizer_of(replace(RECIPE, tokenizer_dialogues=8000))


def batches_of(recipe: Recipe, tokenizer: Tokenizer, chapter: int = 0) -> list[Batch]:
    return chapter_batches(corpus.dialogues, RowWriter(tokenizer), recipe, chapter, id_of(tokenizer, PAD))


def trainer_of(tokenizer: Tokenizer) -> Trainer:
    return new_trainer(RECIPE, tokenizer, compiled=False)


class Cut(Progress):
    """Ends the training after some steps, as a kill would."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def report(self, text: str) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


def test_packing_keeps_every_row_whole() -> None:
    rows = [Row(list(range(length)), [True] * length) for length in (5, 9, 3, 3, 10, 1, 7, 2)]
    groups = pack(rows, 10)
    assert sorted(len(row.ids) for group in groups for row in group) == [1, 2, 3, 3, 5, 7, 9, 10]
    assert all(sum(len(row.ids) for row in group) <= 10 for group in groups)
    assert len(groups) == 4


def test_a_token_sees_its_own_dialogue_and_nothing_later(tokenizer: Tokenizer) -> None:
    batch = next(batch for batch in batches_of(RECIPE, tokenizer) if batch.is_packed)
    seen = attention_mask(batch)[0, 0] == 0
    for place in range(batch.ids.shape[1]):
        looked_at = seen[place].nonzero().flatten()
        assert (batch.dialogue[0, looked_at] == batch.dialogue[0, place]).all()
        assert looked_at.max() == place


def test_positions_begin_anew_with_each_dialogue(tokenizer: Tokenizer) -> None:
    batch = batches_of(RECIPE, tokenizer)[0]
    begins = batch.ids == id_of(tokenizer, "<|begin_of_text|>")
    assert (batch.position[begins] == 0).all() and begins.any()


def test_only_what_the_desk_says_is_learned(tokenizer: Tokenizer) -> None:
    dialogue = next(corpus.dialogues(1))
    row = RowWriter(tokenizer).rows([dialogue.messages])[0]
    learned = [token for token, learn in zip(row.ids, row.learn, strict=True) if learn]
    said = [message["content"] for message in dialogue.messages if message["role"] == "assistant"]
    assert tokenizer.decode(learned, skip_special_tokens=True) == "".join(said)
    assert learned.count(id_of(tokenizer, "<|eot_id|>")) == len(said)


def test_a_chapter_is_the_same_each_time_and_unlike_the_next(tokenizer: Tokenizer) -> None:
    first, again, other = (batches_of(RECIPE, tokenizer, chapter) for chapter in (3, 3, 4))
    assert all(torch.equal(one.ids, two.ids) for one, two in zip(first, again, strict=True))
    assert not torch.equal(first[0].ids, other[0].ids)


def test_some_conversations_are_long(tokenizer: Tokenizer) -> None:
    recipe = Recipe(chapter=400, long_rows=6, seed=2)
    long = [batch for batch in batches_of(recipe, tokenizer) if not batch.is_packed]
    widths = [batch.ids.shape[1] for batch in long]
    assert recipe.row_length < max(widths) <= LONGEST


def test_a_killed_build_ends_with_the_same_weights(tokenizer: Tokenizer, tmp_path: Path) -> None:
    straight = trainer_of(tokenizer)
    train(straight, tokenizer, Progress(), lambda: None)

    cut = trainer_of(tokenizer)
    with pytest.raises(Killed):
        train(cut, tokenizer, Cut(after=4), lambda: checkpoint.save(cut, tmp_path, "same"))
    (tmp_path / ".checkpoint-000099.pt.1.part").write_bytes(b"torn")
    resumed = trainer_of(tokenizer)
    assert checkpoint.restore(resumed, tmp_path, "same")
    assert 0 < resumed.steps < straight.steps
    train(resumed, tokenizer, Progress(), lambda: None)

    assert resumed.steps == straight.steps
    pairs = zip(straight.average.parameters(), resumed.average.parameters(), strict=True)
    assert all(torch.allclose(one, two, atol=1e-6) for one, two in pairs)


def test_a_checkpoint_of_another_corpus_is_not_continued(tokenizer: Tokenizer, tmp_path: Path) -> None:
    trainer = trainer_of(tokenizer)
    checkpoint.save(trainer, tmp_path, "one corpus")
    assert not checkpoint.restore(trainer, tmp_path, "another")
    assert fingerprint_of(RECIPE) != fingerprint_of(replace(RECIPE, seed=6))


def test_two_checkpoints_are_kept(tokenizer: Tokenizer, tmp_path: Path) -> None:
    trainer = trainer_of(tokenizer)
    for trainer.steps in (2, 4, 1_000_000):
        checkpoint.save(trainer, tmp_path, "same")
    assert [path.name for path in checkpoint.checkpoints(tmp_path)] == [
        "checkpoint-000004.pt",
        "checkpoint-1000000.pt",
    ]


def test_the_rate_rises_stays_and_falls_to_zero(tokenizer: Tokenizer) -> None:
    trainer = trainer_of(tokenizer)
    rates = []
    for share in (0.0, 0.01, 0.3, 0.7, 1.0):
        trainer.tokens = round(share * RECIPE.tokens)
        rates.append(trainer.rate)
    assert rates[0] < rates[1] < rates[2] == 1.0
    assert 0.0 == rates[4] < rates[3] < 1.0


def test_learning_lowers_the_loss(tokenizer: Tokenizer) -> None:
    trainer = trainer_of(tokenizer)
    batch = batches_of(RECIPE, tokenizer)[0]
    losses = [trainer.step(batch) for _ in range(6)]
    assert losses[-1] < losses[0] - 0.5


def test_the_live_line_tells_where_it_stands(tokenizer: Tokenizer) -> None:
    trainer = trainer_of(tokenizer)
    speed = Speed(trainer)
    for batch in islice(batches_of(RECIPE, tokenizer), 2):
        line = speed.line(trainer.step(batch))
    for word in ("step 2", "%", "loss", "rate", "tokens/s", "min left"):
        assert word in line


def test_the_rate_rises_once_more_after_the_restart(tokenizer: Tokenizer) -> None:
    trainer = new_trainer(replace(RECIPE, restart=0.5, restart_rate=0.4), tokenizer, compiled=False)
    rates = []
    for share in (0.2, 0.499, 0.6, 1.0):
        trainer.tokens = round(share * RECIPE.tokens)
        rates.append(trainer.rate)
    assert rates[0] == 1.0 and rates[1] < 0.02 and rates[2] == pytest.approx(0.4) and rates[3] == 0.0


def test_a_build_on_a_base_begins_with_its_weights_and_its_tokenizer() -> None:
    recipe = replace(RECIPE, base=str(OUT))
    trainer = new_trainer(recipe, tokenizer_of(recipe), compiled=False)
    released = load_file(OUT / "model.safetensors")
    assert torch.equal(trainer.model.model.norm.weight.bfloat16(), released["model.norm.weight"])
    assert tokenizer_of(recipe).to_str() == Tokenizer.from_file(str(OUT / "tokenizer.json")).to_str()


def test_a_build_on_a_base_says_what_it_began_with() -> None:
    start, card = release.start_of(replace(RECIPE, base=str(OUT))), read_card(OUT)
    assert start.base == card.id and start.tokens >= card.metrics["tokens"]
    assert start.inputs[0]["sha256"] == sha256_of(OUT / "model.safetensors")
    assert release.start_of(RECIPE).tokens == 0


@pytest.mark.parametrize("blend", [1.0, 0.5, 0.0])
def test_what_is_released_lies_between_what_was_learned_and_the_base(blend: float) -> None:
    recipe = replace(RECIPE, base=str(OUT), blend=blend)
    trainer = new_trainer(recipe, tokenizer_of(recipe), compiled=False)
    with torch.no_grad():
        trainer.average.model.norm.weight += 1.0
    base = load_file(OUT / "model.safetensors")["model.norm.weight"].float()
    weight = release.released(trainer).model.norm.weight
    assert torch.allclose(weight, base + blend)
    assert fingerprint_of(recipe) == fingerprint_of(replace(recipe, blend=0.3))


def test_a_folder_without_a_tokenizer_is_no_base(tmp_path: Path) -> None:
    with pytest.raises(BacktalkError, match=r"holds no tokenizer\.json"):
        tokenizer_of(replace(RECIPE, base=str(tmp_path)))


@pytest.mark.parametrize("shape", [(3, 64, 128), (2, 96, 32)])
def test_what_muon_moves_by_is_nearly_orthogonal(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    given = torch.randn(shape)
    found = torch.linalg.svdvals(orthogonal(given))
    assert found.min() > 0.6 and found.max() < 1.3
    left, _, right = torch.linalg.svd(given, full_matrices=False)
    nearest = left @ right
    cosine = (orthogonal(given) * nearest).sum((1, 2)) / (
        orthogonal(given).norm(dim=(1, 2)) * nearest.norm(dim=(1, 2))
    )
    assert cosine.min() > 0.95


def test_muon_moves_as_torchs_own_does() -> None:
    torch.manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.ones(64, 32)) for _ in range(2))
    mine = Muon([ours], lr=0.02, weight_decay=0.05)
    other = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.05)
    for _ in range(5):
        ours.grad = torch.randn(64, 32)
        theirs.grad = ours.grad.clone()
        mine.step()
        other.step()
    assert (ours - theirs).abs().max() < 5e-3  # torch's own rounds to bfloat16 on the way
    assert (ours - 1).abs().max() > 2e-2
