"""`curated/newest` in a recipe: the curated set that was made last, by its id from then on.

A recipe in the repository cannot know the id of a set that a maintainer will make. The effective recipe, and
with it the run's id and card, names the set that was found.
"""

from dataclasses import replace

from backtalk.card import NAME as CARD
from backtalk.card import read_card
from backtalk.errors import WordsError
from backtalk.home import home
from training.data.recipe import Source
from training.recipe import Recipe

NEWEST = "curated/newest"


def settled(recipe: Recipe) -> Recipe:
    """The recipe with the newest set by its id. Raises WordsError where there is none yet."""
    sources = tuple(_settled(source) for source in recipe.data.sources)
    return replace(recipe, data=replace(recipe.data, sources=sources))


def _settled(source: Source) -> Source:
    if source.path != NEWEST:
        return source
    cards = [read_card(path.parent) for path in (home() / "curated").glob(f"*/{CARD}")]
    if not cards:
        raise WordsError(
            f"The recipe learns from {NEWEST}, and there is no curated set in {home()} yet. "
            "Make one with backtalk curate, or name data: --data.sources FILE."
        )
    last = max(cards, key=lambda card: (card.created_at, card.id))
    return replace(source, path=f"curated/{last.id}")
