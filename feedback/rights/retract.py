"""`backtalk flags retract`: takes a flag back, for a contributor who asks for it without their browser.

    backtalk flags retract 3f2a

The withdrawal is one more event, which holds no text. It reaches the Hub with the next sync; the next curated
set and the next compaction no longer contain the flag. What it was before stays in older files until a purge.
"""

from contextlib import closing

from backtalk.errors import WordsError
from backtalk.home import home
from backtalk.verb import Parser, report_json
from feedback.hub.known import KnownFlags
from feedback.revisions import withdrawal
from feedback.store.outbox import NAME, Outbox


def main(argv: list[str]) -> int:
    parser = Parser("flags retract", "Take a flag back.", example="backtalk flags retract 3f2a")
    parser.add_argument("flag", metavar="FLAG", help="the id of a flag, or its beginning")
    parser.add_json()
    args = parser.parse_args(argv)
    with closing(Outbox(home() / NAME)) as outbox:
        known = KnownFlags(outbox)
        name = named(known, args.flag)
        receipt = outbox.save(withdrawal(known.history(name)[-1]))
    print(f"Flag {name} is withdrawn.")
    print(
        "What used it is listed by: backtalk trace FLAG. Its texts go for good by: backtalk flags purge FLAG"
    )
    if args.json:
        report_json({"flag_id": name, "revision": receipt.revision, "repeated": receipt.repeated})
    return 0


def named(known: KnownFlags, prefix: str) -> str:
    """The one flag here whose id begins so."""
    found = known.find(prefix) if prefix else []
    if len(found) == 1:
        return found[0]
    if found:
        raise WordsError(f"'{prefix}' begins several ids: {', '.join(found[:3])} ... Give more of it.")
    raise WordsError(f"There is no flag '{prefix[:40]}' here. See: backtalk flags list")
