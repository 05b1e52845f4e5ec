"""`python -m export convert ...`, `quantize`, `verify` ...: the steps of an export, one by one."""

import sys

from backtalk.errors import BacktalkError, WordsError
from export import adapter, convert, imatrix, merge, quantize, verify

STEPS = {
    "adapter": adapter.main,
    "convert": convert.main,
    "imatrix": imatrix.main,
    "merge": merge.main,
    "quantize": quantize.main,
    "verify": verify.main,
}


def main(argv: list[str]) -> int:
    """Runs one step; an error is one calm paragraph."""
    try:
        if not argv or argv[0] not in STEPS:
            raise WordsError(f"python -m export needs a step: {', '.join(STEPS)}.")
        return STEPS[argv[0]](argv[1:])
    except BacktalkError as fault:
        print(fault, file=sys.stderr)
        return fault.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
