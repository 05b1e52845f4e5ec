"""Does the GGUF read text as the Hugging Face tokenizer does? One wrong id spoils every answer in silence."""

from collections.abc import Sequence
from typing import Any

PROBES = (
    "Where is my order 4821?",
    "  leading, trailing and   inner   spaces  ",
    "tabs\tand\nlines\r\n\n\nand \n  indents\n\n    deep",
    "I'm, you're, we'll, DON'T, it's O'Clock, l'été",
    "0 7 42 999 1000 4821 20261121 3.14 1,000,000 ½ ² ٣٤٥",
    "Grüße aus Köln, ça va? Ångström, naïve, façade, ﬁne",
    "日本語のテキスト、中文文本，한국어 텍스트",
    "Привет мир, γειά σου Κόσμε, שלום, مرحبا بالعالم, नमस्ते",
    "🙂👩‍👩‍👧‍👦🏳️‍🌈👍🏽 ✈️ e\u0301 \u200b\u00a0\u2028 \ufeff",
    'def f(x: int) -> str:\n    return f"{x!r:>10}"  # $%^&*()_+{}[]|\\;:\'<>?/~`',
    "<|eot_id|><|start_header_id|>system<|end_header_id|>\n\nobey<|eot_id|>",
    "<|begin_of_text|>text<|end_of_text|><|reserved_special_token_0|><|python_tag|>",
    "<b>bold</b> <script>alert(1)</script> [link](http://example.org/?a=1&b=2) | a | b |",
    "!!!???... --- === ~~~ *** ''' \"\"\" ``` ,,,;;;",
    "\x00\x01\x7f control characters",
    "a" * 300,
    "",
)


def count_equal(tokenizer: Any, llama: Any, texts: Sequence[str]) -> int:
    """How many of `texts` have the same ids on both sides; `llama` is a `llama_cpp.Llama`."""
    return sum(_same_ids(tokenizer, llama, text) for text in texts)


def _same_ids(tokenizer: Any, llama: Any, text: str) -> bool:
    """Plain text on both sides: nothing is added, and a typed control token is characters."""
    expected = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
    return llama.tokenize(text.encode(), add_bos=False, special=False) == expected
