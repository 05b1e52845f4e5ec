"""Is the GGUF the model it was made from? An export that is silently bad must not leave this file unnoticed.

    python -m export verify models/mini models/mini/mini-Q8_0.gguf --texts held_out.jsonl

Checked against bounds: the ids of a probe set (scripts, emoji, code, white space, control tokens typed as
text), the chat template on thirty conversations as they are served, and the Kullback-Leibler divergence over
held-out texts from the Hugging Face model (`export/bounds.py`). Told beside them: the share of places with
the same most likely token, and the perplexity of both.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from backtalk.engine.machine import usable_cores
from backtalk.errors import ModelError, WordsError
from backtalk.files import read_jsonl
from backtalk.gguf_check import check, head
from backtalk.progress import Progress
from backtalk.verb import Parser, report_json
from export.bounds import NEAR, divergence_bound
from export.checks import fidelity, template, tokens
from export.checks.fidelity import Fidelity
from export.checks.tokens import PROBES

__all__ = ["BOUND", "PROBES", "Messages", "Text", "Verdict", "main", "read_texts", "verify", "verify_all"]

BOUND = NEAR  # where a file does not say its type
HELD_OUT = Path(__file__).parent / "data" / "held_out.jsonl"
"""Questions of the miniature's evaluation with their right answers; taken where no text is given."""
LONGEST = 512  # tokens of a text that are compared

Messages = Sequence[Mapping[str, str]]
Text = Messages | str
Report = Callable[[str], None]


@dataclass(frozen=True)
class Verdict:
    """What was compared and how near the two came."""

    probes: int
    probes_equal: int
    templates: int
    templates_equal: int
    texts: int
    tokens: int
    divergence: float
    top_token_equal: float
    reversal: float
    perplexity: float
    model_perplexity: float
    bound: float

    @property
    def failed(self) -> list[str]:
        """The bounds that were not kept, by name."""
        kept = {
            "token ids": self.probes_equal == self.probes,
            "chat template": self.templates_equal == self.templates,
            "divergence": self.divergence < self.bound,  # no number at all is not below it
        }
        return [name for name, holds in kept.items() if not holds]

    @property
    def holds(self) -> bool:
        return not self.failed


def verify(
    model_dir: Path, gguf: Path, conversations: Sequence[Messages], bound: float | None = None
) -> Verdict:
    """Compares the GGUF with the folder it was made from; `bound` None takes that of its type.

    Raises ModelError when a file cannot be read.
    """
    return verify_all(model_dir, [gguf], conversations, bound)[gguf]


def verify_all(
    model_dir: Path,
    ggufs: Sequence[Path],
    texts: Sequence[Text],
    bound: float | None = None,
    report: Report = lambda _: None,
) -> dict[Path, Verdict]:
    """A verdict on each of `ggufs`, all made from one folder; the folder's model is run once for all."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    chats = template.conversations() if tokenizer.chat_template else ()
    probes = [*PROBES, *_plain(texts)]
    with ExitStack() as stack:
        llamas = {path: stack.enter_context(_opened(path)) for path in ggufs}
        pieces = _pieces(tokenizer, texts, _longest(llamas.values()))
        near = fidelity.compare(model_dir, llamas, pieces, report)
        return {
            path: _verdict(
                near[path],
                probes=len(probes),
                probes_equal=tokens.count_equal(tokenizer, llama, probes),
                templates=len(chats),
                templates_equal=template.count_equal(tokenizer, llama, chats) if chats else 0,
                texts=len(pieces),
                bound=_bound_of(path) if bound is None else bound,
            )
            for path, llama in llamas.items()
        }


def read_texts(path: Path) -> list[Text]:
    """Held-out texts: JSON lines with `messages`, or `prompt` and an answer; any other file is plain text."""
    if not path.is_file():
        raise WordsError(f"There is no file {path}. Name plain text, or JSON lines of conversations.")
    if path.suffix != ".jsonl":
        return [path.read_text(encoding="utf-8", errors="replace")]
    rows = [_conversation(row, f"{path}, line {number},") for number, row in enumerate(read_jsonl(path), 1)]
    if not rows:
        raise WordsError(f"{path} holds no text to compare on. Name a file with conversations.")
    return list(rows)


def _conversation(row: Any, place: str) -> Messages:
    """The messages of a row: as they are, or a prompt with its right answer, where one is known."""
    if isinstance(row, dict) and isinstance(row.get("messages"), list):
        return row["messages"]
    if not isinstance(row, dict) or not isinstance(row.get("prompt"), list):
        raise WordsError(f'{place} has neither "messages" nor "prompt". Name a file of a curated set.')
    answer = row.get("completion") or row.get("chosen") or row.get("reference") or []
    answer = [{"role": "assistant", "content": answer}] if isinstance(answer, str) else answer
    return [*row["prompt"], *answer]


def _verdict(near: Fidelity, **counts: Any) -> Verdict:
    return Verdict(**asdict(near), **counts)


def _bound_of(path: Path) -> float:
    values = head(path)
    layers = values.get(f"{values.get('general.architecture')}.block_count")
    kind = values.get("general.file_type")
    return divergence_bound(_whole(kind), _whole(layers))


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else -1


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import llama_cpp

    from backtalk.engine.llama import ONE_THREAD_BYTES

    check(path)
    threads = 1 if path.stat().st_size < ONE_THREAD_BYTES else usable_cores()
    try:
        llama = llama_cpp.Llama(
            str(path),
            n_ctx=LONGEST,
            n_batch=LONGEST,
            n_threads=threads,
            n_threads_batch=threads,
            logits_all=True,
            type_k=llama_cpp.GGML_TYPE_F32,  # what is judged is the file, not how a cache rounds
            type_v=llama_cpp.GGML_TYPE_F32,
            verbose=False,
        )
    except ValueError as fault:
        raise ModelError(f"llama.cpp cannot load {path} ({fault}). Convert the model again.") from fault
    with closing(llama):
        yield llama


def _longest(llamas: Any) -> int:
    """Tokens that are read at once: no more than every model was trained on."""
    from llama_cpp import llama_model_n_ctx_train

    return min([LONGEST, *(llama_model_n_ctx_train(llama.model) for llama in llamas)])


def _plain(texts: Sequence[Text]) -> Iterator[str]:
    for text in texts:
        if isinstance(text, str):
            yield text
        else:
            yield from (message["content"] for message in text)


def _pieces(tokenizer: Any, texts: Sequence[Text], longest: int) -> list[list[int]]:
    """The ids of each text: plain ones in pieces, the beginning of conversations, as the template has it."""
    pieces = []
    for text in texts:
        if isinstance(text, str) or not tokenizer.chat_template:
            plain = text if isinstance(text, str) else "\n".join(_plain([text]))
            ids = tokenizer.encode(plain, add_special_tokens=False, split_special_tokens=True)
            pieces += [ids[start : start + longest] for start in range(0, len(ids), longest)]
        else:
            ids = tokenizer.apply_chat_template(list(text), tokenize=True, return_dict=False)
            pieces.append(ids[:longest])
    return [ids for ids in pieces if ids]


def main(argv: list[str]) -> int:
    """`python -m export verify MODEL_DIR GGUF --texts FILE`."""
    parser = Parser(
        prog="python -m export verify",
        description="Compares a GGUF with the folder that it was made from.",
        example="python -m export verify models/mini models/mini/mini-Q8_0.gguf --texts held_out.jsonl",
    )
    parser.add_argument("model_dir", type=Path, help="folder with the Hugging Face model")
    parser.add_argument("gguf", type=Path, help="the file made from it")
    parser.add_argument(
        "--texts", type=Path, default=HELD_OUT, metavar="FILE",
        help="held-out text: JSON lines of conversations, or plain text (the miniature's)",
    )  # fmt: skip
    parser.add_argument("--bound", type=float, help="highest mean divergence (that of the file's type)")
    parser.add_json()
    args = parser.parse_args(argv)
    report = Progress().report
    verdict = verify_all(args.model_dir, [args.gguf], read_texts(args.texts), args.bound, report)[args.gguf]
    print(
        f"token ids equal: {verdict.probes_equal} of {verdict.probes} texts\n"
        f"chat template equal: {verdict.templates_equal} of {verdict.templates} conversations\n"
        f"divergence: {verdict.divergence:.2e} nats per token over {verdict.tokens} tokens "
        f"(bound {verdict.bound})\n"
        f"most likely token equal: {verdict.top_token_equal:.2%}\n"
        f"perplexity: {verdict.perplexity:.3f}, of the model {verdict.model_perplexity:.3f}"
    )
    if args.json:
        report_json({**asdict(verdict), "failed": verdict.failed, "holds": verdict.holds})
    return 0 if verdict.holds else 1
