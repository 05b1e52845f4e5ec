"""What a reader of a stream waits on: pieces of text, then how the answer ended or why there is none."""

from collections.abc import Iterator
from queue import SimpleQueue

from backtalk.engine import Ending


class Reading:
    """The reader's side of a stream; whoever writes the answer does so in another thread."""

    def __init__(self) -> None:
        self._pieces: SimpleQueue[str | Ending | Exception] = SimpleQueue()
        self._ending: Ending | None = None

    def __iter__(self) -> Iterator[str]:
        while self._ending is None:
            piece = self._pieces.get()
            if isinstance(piece, Exception):
                raise piece
            if isinstance(piece, Ending):
                self._ending = piece
            else:
                yield piece

    @property
    def ending(self) -> Ending:
        """How it ended. Raises RuntimeError before it was read to the end."""
        if self._ending is None:
            raise RuntimeError("the stream was asked for its ending before it was read to the end")
        return self._ending

    def hand_over(self, text: str) -> None:
        self._pieces.put(text)

    def end(self, how: Ending | Exception) -> None:
        self._pieces.put(how)
