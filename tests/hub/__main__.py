"""`make hub`: a Hub of your own to try the loop against; nothing leaves this machine.

    python -m tests.hub [--port 8765] [--folder .backtalk/hub] [--faults 0.3 --seed 1]

It keeps its repositories in the folder, so it can be stopped and started again. Large files go by git LFS,
not xet.
"""

import argparse
import signal
import sys
from contextlib import suppress
from pathlib import Path

from tests.hub.server import Hub

HOW_TO_USE_IT = """\
A Hub on this machine: {endpoint}   (kept in {folder}; Ctrl-C ends it)

In the shell where you run Backtalk, hf or Python:

  export HF_ENDPOINT={endpoint} HF_TOKEN=hf_write HF_HUB_DISABLE_XET=1
  export BACKTALK_FLAGS_DATASET=somebody/flags BACKTALK_SAFETY_DATASET=somebody/safety
"""


def main() -> int:
    purpose, _, usage = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser("python -m tests.hub", description=purpose, epilog=usage)
    parser.add_argument("--port", type=int, default=8765, help="0 takes a free one (default: 8765)")
    parser.add_argument(
        "--folder", type=Path, default=Path(".backtalk/hub"), help="where it keeps everything"
    )
    parser.add_argument("--faults", type=float, default=0.0, metavar="SHARE", help="of requests that fail")
    parser.add_argument("--seed", type=int, default=0, help="which ones fail, and how")
    args = parser.parse_args()
    try:
        hub = Hub(args.folder, args.port)
    except OSError as fault:
        print(f"The port {args.port} is taken ({fault.strerror}). Choose another: --port 0", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a background process may not hear Ctrl-C
    hub.faults.at_random(args.faults, args.seed)
    print(HOW_TO_USE_IT.format(endpoint=hub.endpoint, folder=args.folder), flush=True)
    with suppress(KeyboardInterrupt):
        hub.serve_forever()
    print(f"\n{hub.faults.drawn} requests, {hub.faults.dealt} of them with a fault")
    return 0


if __name__ == "__main__":
    sys.exit(main())
