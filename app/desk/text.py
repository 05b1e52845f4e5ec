"""What visitors type, made storable: no lone surrogates, no null bytes, no control characters but tab and
newline.
"""

import re
import unicodedata

NOT_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def clean(text: str) -> str:
    """The same words in Unicode's composed form; what no file or model can hold becomes U+FFFD or goes."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    return unicodedata.normalize("NFC", NOT_TEXT.sub("\N{REPLACEMENT CHARACTER}", text))
