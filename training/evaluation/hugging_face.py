"""A model for transformers, alone or with an adapter: asked and read in batches, in the tokens of serving.

On a CPU it computes in float32, on an accelerator in the type of its file. Prompts are backtalk.prompt's, so
a control token that somebody typed stays text here as well.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from backtalk.errors import ContextError, ModelError
from backtalk.models import Model
from backtalk.prompt import Prompt, Template, fit, room_for
from training.evaluation.items import Item
from training.evaluation.scores import Answer
from training.evaluation.subject import placed

CONTEXT = 8192  # tokens; as the engine that serves
TOKENS_AT_ONCE = 8192  # of a batch, padding and answers included
ROWS_AT_ONCE = 32
LOGITS_AT_ONCE = 2**28  # of a batch that is read: 1 GiB in float32
BARE = "{{ bos_token }}{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
"""For models without a chat template: contents one below another."""
ENDS = {"<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|im_end|>", "<|endoftext|>", "<|end|>", "</s>"}


class HuggingFace:
    """See training.evaluation.subject.Subject."""

    gguf: Model | None = None
    tokens_at_once = TOKENS_AT_ONCE

    def __init__(
        self, name: str, folder: Path, inputs: list[dict[str, Any]], adapter: Path | None = None
    ) -> None:
        from transformers import AutoTokenizer

        self.name, self.inputs = name, inputs
        taught = adapter if adapter and (adapter / "tokenizer.json").is_file() else folder
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(taught)
            self._model = _load(folder, adapter)
        except (OSError, ValueError, RuntimeError) as fault:
            reason = str(fault).strip().splitlines()[0]
            raise ModelError(
                f"{adapter or folder} cannot be loaded ({reason}). Check that it is whole."
            ) from fault
        self._context = min(CONTEXT, getattr(self._model.config, "max_position_embeddings", None) or CONTEXT)
        self._template = self._chat_template()

    def ask(self, items: Sequence[Item], most: int) -> Iterator[tuple[Item, Answer]]:
        prompts = [(item, self._prompt(item, most)) for item in items]
        for batch in _batches(prompts, lambda pair: len(pair[1].tokens) + most, self.tokens_at_once):
            yield from self._answers(batch, most)

    def read(self, items: Sequence[Item]) -> Iterator[tuple[Item, float]]:
        texts = [(item, *self._text(item)) for item in items]
        tokens = min(self.tokens_at_once, LOGITS_AT_ONCE // self._model.config.vocab_size)
        for batch in _batches(texts, lambda text: len(text[1]), tokens):
            yield from zip((item for item, _, _ in batch), self._bits(batch), strict=True)

    def close(self) -> None:
        del self._model

    def _answers(self, batch: list[tuple[Item, Prompt]], most: int) -> Iterator[tuple[Item, Answer]]:
        import torch

        rows, mask = self._padded([prompt.tokens for _, prompt in batch])
        room = min(most, self._context - rows.shape[1])
        with torch.inference_mode():
            whole = self._model.generate(rows, attention_mask=mask, max_new_tokens=room)
        for (item, prompt), written in zip(batch, whole[:, rows.shape[1] :].tolist(), strict=True):
            length = next((place for place, token in enumerate(written) if token in self._ends), len(written))
            text = self._tokenizer.decode(
                written[:length], skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
            yield item, Answer(text, length, length < len(written), prompt.dropped_turns)

    def _bits(self, batch: list[tuple[Item, list[int], int]]) -> list[float]:
        """Bits of what follows the first `given` tokens of each text."""
        import torch

        rows, mask = self._padded([ids for _, ids, _ in batch])
        longest = max(len(ids) - given for _, ids, given in batch)
        places = (mask.cumsum(-1) - 1).clamp(min=0)
        bits = []
        with torch.inference_mode():
            logits = self._model(
                rows, attention_mask=mask, position_ids=places, logits_to_keep=longest + 1
            ).logits
            for row, (_, ids, given) in zip(logits, batch, strict=True):
                count = len(ids) - given
                found = row[-count - 1 : -1].float().log_softmax(-1)
                chosen = found.gather(
                    -1, torch.tensor(ids[given:], dtype=torch.long, device=found.device)[:, None]
                )
                bits.append(-float(chosen.double().sum()) / math.log(2))
        return bits

    def _prompt(self, item: Item, most: int) -> Prompt:
        try:
            return fit(self._template, item.messages, room_for(most, self._context))
        except ContextError as fault:
            raise placed(item, fault) from fault

    def _text(self, item: Item) -> tuple[list[int], int]:
        """The tokens of prompt and reference, and how many of them are given."""
        prompt = self._template.tokens(item.messages) if item.messages else self._opening()
        ids = prompt + self._tokenize(item.reference)
        if len(ids) > self._context:
            raise ContextError(
                f"{item.place}: prompt and reference take {len(ids):,} tokens and {self.name} reads "
                f"{self._context:,} at once. Shorten them or cut the text into parts."
            )
        return ids, max(len(prompt), 1)

    def _opening(self) -> list[int]:
        first = self._tokenizer.bos_token_id
        return [] if first is None else [first]

    def _chat_template(self) -> Template:
        controls = {
            token.content: number
            for number, token in self._tokenizer.added_tokens_decoder.items()
            if token.special
        }
        self._ends = self._end_tokens(controls)
        self._pad = next(iter(sorted(self._ends)), 0)
        self._model.generation_config = _greedy(sorted(self._ends), self._pad)
        return Template(
            self._tokenizer.chat_template or BARE,
            controls,
            self._tokenize,
            bos_token=self._tokenizer.bos_token or "",
            eos_token=self._tokenizer.eos_token or "",
        )

    def _end_tokens(self, controls: dict[str, int]) -> set[int]:
        """What ends an answer: what the model's own settings name, and what llama.cpp knows by name."""
        stated = self._model.generation_config.eos_token_id
        ends = {stated} if isinstance(stated, int) else set(stated or ())
        if self._tokenizer.eos_token_id is not None:
            ends.add(self._tokenizer.eos_token_id)
        return ends | {number for name, number in controls.items() if name in ENDS}

    def _tokenize(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)

    def _padded(self, texts: Sequence[Sequence[int]]) -> tuple[Any, Any]:
        """Ids and mask of a batch, padded on the left so that all answers begin at one place."""
        import torch

        width = max(map(len, texts))
        rows = [[self._pad] * (width - len(ids)) + list(ids) for ids in texts]
        mask = [[0] * (width - len(ids)) + [1] * len(ids) for ids in texts]
        return torch.tensor(rows, device=self._model.device), torch.tensor(mask, device=self._model.device)


def _load(folder: Path, adapter: Path | None) -> Any:
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # it would be drawn over ours
    device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    dtype = torch.float32 if device == "cpu" else "auto"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, use_safetensors=True)
    if adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    return model.to(device).eval()


def _greedy(ends: list[int], pad: int) -> Any:
    """Greedy and nothing else: a model's own file may ask for sampling or a penalty."""
    from transformers import GenerationConfig

    return GenerationConfig(do_sample=False, num_beams=1, eos_token_id=ends or None, pad_token_id=pad)


def _batches(entries: list[Any], length: Any, tokens: int) -> Iterator[list[Any]]:
    """Entries of about the same length, the longest first: if memory is short, that shows at once."""
    batch: list[Any] = []
    for entry in sorted(entries, key=length, reverse=True):
        if batch and (len(batch) == ROWS_AT_ONCE or length(batch[0]) * (len(batch) + 1) > tokens):
            yield batch
            batch = []
        batch.append(entry)
    if batch:
        yield batch
