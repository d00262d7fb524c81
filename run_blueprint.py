#!/usr/bin/env python3
"""The door: works with nothing installed, and says so in one sentence when Python itself is too old."""

# The built-in part of `signal`, which imports nothing: Ctrl-C may come at any moment.
import _signal as signal  # type: ignore[import-not-found]

# Until there is somebody to say so in a sentence, Ctrl-C ends this without Python's traceback.
if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036  whoever runs this may have any Python
    sys.stderr.write(
        "Blueprint needs Python 3.11 or newer, and this is %d.%d. Run it with a newer one.\n"  # noqa: UP031
        % sys.version_info[:2]
    )
    sys.exit(4)

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120

if __name__ == "__main__":
    from blueprint.cli.main import main

    os._exit(main(sys.argv[1:]))  # threads of an abandoned task, or of a library, must not hold the prompt back
