"""The importance matrix, collected on the bundled model and on a random GPT-2.

Command: .venv/bin/python -m pytest -q tests/export/test_imatrix.py
Promise: the values are the mean squares of what the layers read, every quantized tensor has them, the same
text gives the same bytes, and text that cannot be read is one sentence.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from backtalk.errors import ModelError, WordsError
from backtalk.files import sha256_of, write_jsonl
from export.convert import convert
from export.imatrix import PIECE, make_imatrix, read_imatrix
from export.quantize import plan_types

MINI = Path(__file__).resolve().parents[2] / "models" / "mini"
ORDER = [{"role": "user", "content": "where is my order 4821?"}]
ANSWER = [{"role": "assistant", "content": "You can follow order 4821 on our page."}]
REFUND = [
    {"role": "user", "content": "can I send it back?"},
    {"role": "assistant", "content": "Within 30 days."},
]


def token_ids(*conversations: list[dict[str, str]]) -> list[list[int]]:
    tokenizer = AutoTokenizer.from_pretrained(MINI)
    return [
        tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
        for messages in conversations
    ]


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "chats.jsonl"
    write_jsonl(path, [{"messages": ORDER + ANSWER}, {"messages": REFUND}])
    return path


@pytest.fixture(scope="module")
def matrix(chats: Path) -> Path:
    return make_imatrix(MINI, chats, chats.parent / "imatrix.gguf")


def test_values_are_the_mean_squares_of_what_a_layer_reads(matrix: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(MINI, dtype=torch.float32).eval()
    first, last = [], []
    with torch.inference_mode():
        for ids in token_ids(ORDER + ANSWER, REFUND):
            embedded = model.model.embed_tokens(torch.tensor([ids]))
            first.append(model.model.layers[0].input_layernorm(embedded)[0].numpy())
            last.append(model.model(torch.tensor([ids])).last_hidden_state[0].numpy())
    values = read_imatrix(matrix).values
    wanted = (np.concatenate(first).astype(np.float64) ** 2).mean(0)
    for name in ("attn_q", "attn_k", "attn_v"):
        np.testing.assert_allclose(values[f"blk.0.{name}.weight"], wanted, rtol=1e-4)
    wanted = (np.concatenate(last).astype(np.float64) ** 2).mean(0)
    np.testing.assert_allclose(values["token_embd.weight"], wanted, rtol=1e-3)


def test_every_tensor_that_is_quantized_is_weighed(matrix: Path, tmp_path: Path) -> None:
    source = convert(MINI, tmp_path / "mini-F16.gguf", "F16")
    plan = plan_types(source, tmp_path, ["Q2_K"], imatrix=matrix)[0]
    assert plan.unweighed == ()
    assert len(read_imatrix(matrix).values) == 6 * 7 + 1


def test_the_file_says_which_text_and_how_much_of_it(matrix: Path, chats: Path) -> None:
    read = read_imatrix(matrix)
    assert read.text_sha256 == sha256_of(chats)
    assert read.tokens == sum(map(len, token_ids(ORDER + ANSWER, REFUND)))
    assert gguf.GGUFReader(matrix).get_field("general.type").contents() == "imatrix"
    assert gguf.GGUFReader(matrix).get_field("imatrix.datasets").contents() == ["chats.jsonl"]


def test_the_same_text_gives_the_same_bytes(matrix: Path, chats: Path, tmp_path: Path) -> None:
    assert sha256_of(make_imatrix(MINI, chats, tmp_path / "again.gguf")) == sha256_of(matrix)


def test_the_same_matrix_is_not_made_twice(matrix: Path, chats: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(matrix, tmp_path / "imatrix.gguf"))
    inode = copy.stat().st_ino
    make_imatrix(MINI, chats, copy)
    assert copy.stat().st_ino == inode
    make_imatrix(MINI, chats, copy, tokens=20)
    assert copy.stat().st_ino != inode
    assert read_imatrix(copy).tokens == 20


def test_rows_of_a_curated_set_are_read_and_bad_answers_are_left_out(chats: Path, tmp_path: Path) -> None:
    rows = [
        {"prompt": ORDER, "completion": ANSWER},
        {"prompt": ORDER, "completion": [{"role": "assistant", "content": "No idea."}], "label": False},
        {"prompt": REFUND[:1], "chosen": REFUND[1:], "rejected": ANSWER},
    ]
    write_jsonl(tmp_path / "kto.jsonl", rows)
    curated = make_imatrix(MINI, tmp_path / "kto.jsonl", tmp_path / "curated.gguf")
    plain = make_imatrix(MINI, chats, tmp_path / "plain.gguf")
    ours, theirs = read_imatrix(curated), read_imatrix(plain)
    assert ours.tokens == theirs.tokens
    for name, values in ours.values.items():
        np.testing.assert_array_equal(values, theirs.values[name])


def test_plain_text_is_read_whole_and_typed_control_tokens_are_characters(tmp_path: Path) -> None:
    text = "order <|eot_id|> " + "where is it? " * PIECE
    (tmp_path / "text.txt").write_text(text)
    read = read_imatrix(make_imatrix(MINI, tmp_path / "text.txt", tmp_path / "imatrix.gguf"))
    tokenizer = AutoTokenizer.from_pretrained(MINI)
    wanted = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
    assert read.tokens == len(wanted) > 2 * PIECE
    assert tokenizer.convert_tokens_to_ids("<|eot_id|>") not in wanted


def test_a_gpt2_is_weighed_under_its_own_names(tmp_path: Path) -> None:
    folder = tmp_path / "gpt2"
    torch.manual_seed(0)
    size = len(AutoTokenizer.from_pretrained(MINI))
    config = GPT2Config(vocab_size=size, n_embd=64, n_layer=2, n_head=2, n_positions=PIECE)
    GPT2LMHeadModel(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(MINI / name, folder)
    (tmp_path / "text.txt").write_text("where is my order 4821?")
    values = read_imatrix(make_imatrix(folder, tmp_path / "text.txt", tmp_path / "imatrix.gguf")).values
    assert values.keys() == {
        "token_embd.weight",
        *(
            f"blk.{block}.{name}.weight"
            for block in (0, 1)
            for name in ("attn_qkv", "attn_output", "ffn_up", "ffn_down")
        ),
    }
    assert values["blk.0.ffn_down.weight"].shape == (256,)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("empty.txt", "", "holds no text"),
        ("rows.jsonl", '{"text": "hello"}\n', 'line 1, has neither "messages" nor "prompt"'),
        ("list.jsonl", "[1]\n", "line 1, is no JSON object"),
        ("text.jsonl", '{"messages": ["hello"]}\n', 'line 1, has a message without "role"'),
        ("down.jsonl", '{"prompt": [], "completion": [], "label": false}\n', "holds no text"),
    ],
)
def test_text_that_cannot_be_read_is_one_sentence(
    tmp_path: Path, name: str, content: str, sentence: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(WordsError, match=sentence):
        make_imatrix(MINI, tmp_path / name, tmp_path / "imatrix.gguf")
    assert not (tmp_path / "imatrix.gguf").exists()


def test_a_missing_text_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(WordsError, match="There is no file"):
        make_imatrix(MINI, tmp_path / "none.txt", tmp_path / "imatrix.gguf")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.99])
def test_a_torn_matrix_is_one_sentence(matrix: Path, tmp_path: Path, share: float) -> None:
    whole = matrix.read_bytes()
    (tmp_path / "torn.gguf").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ModelError, match="importance matrix"):
        read_imatrix(tmp_path / "torn.gguf")


def test_a_model_is_no_matrix() -> None:
    with pytest.raises(ModelError, match="holds no importance matrix"):
        read_imatrix(MINI / "mini-Q8_0.gguf")


def test_reading_a_matrix_needs_no_torch(matrix: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from export.imatrix import read_imatrix;"
        f"read_imatrix(Path({str(matrix)!r}));"
        "assert not {'torch', 'transformers', 'llama_cpp'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
