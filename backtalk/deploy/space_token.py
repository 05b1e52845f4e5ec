"""The token that a Space is given: one that writes the flag datasets, reads the model, and can do no more.

    check_space_token(token, needs)      raises where it is broader, or narrower, than that

It is looked at before it is handed over: its own list of rights, and whether the Hub lets it write where it
has to. Whoever breaks into a Space then has flags to add, and nothing else of its owner's.
"""

from dataclasses import dataclass

from backtalk.errors import WordsError
from backtalk.hub import tokens
from backtalk.hub.tokens import Rights

VARIABLE = "BACKTALK_SPACE_TOKEN"
NEW_TOKEN = "https://huggingface.co/settings/tokens/new?tokenType=fineGrained"


@dataclass(frozen=True)
class Needs:
    """The datasets that a Space writes and the model repository that it reads."""

    datasets: tuple[str, ...]
    model: str

    @property
    def sentence(self) -> str:
        """How to make such a token."""
        return (
            f"Make one at {NEW_TOKEN}: under 'Repositories permissions' choose "
            f"{' and '.join(self.datasets)} with read and write, {self.model} with read, and nothing else. "
            f"Then: {VARIABLE}=hf_... and the same command again."
        )


def check_space_token(token: str, needs: Needs) -> Rights:
    """The token's rights. Raises WordsError where they are more or less than the Space needs."""
    if not token:
        raise WordsError(
            f"The Space has no token yet with which flags reach their datasets. {needs.sentence}"
        )
    rights = tokens.rights_of(token)
    if more := rights.beyond(needs.datasets, [needs.model]):
        raise WordsError(
            f"The token in {VARIABLE} may do more than write the flags: {'; '.join(more)}. "
            f"It was not handed over. {needs.sentence}"
        )
    if closed := [name for name in needs.datasets if not tokens.may_write(name, token)]:
        raise WordsError(f"The token in {VARIABLE} may not write {' and '.join(closed)}. {needs.sentence}")
    if not tokens.may_read(needs.model, token):
        raise WordsError(f"The token in {VARIABLE} may not read {needs.model}. {needs.sentence}")
    return rights
