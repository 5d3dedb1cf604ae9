"""`sayagain` and `python -m sayagain`: errors become exit codes here, and nowhere else.

0 done, 1 failed, 2 bad input or settings, 3 refused by a data or model gate.
"""

from __future__ import annotations

import os
import sys

from schemas.errors import InputError, RefusedError


def main() -> None:
    """Run the command line."""
    # torch's threads would otherwise spin while another process (the JVM, say) holds their core: measured ten times
    # slower on two busy cores. It is read when torch is loaded, which is later.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from sayagain.app import app
    from sayagain.show import complain

    try:
        app()
    except InputError as fault:
        complain("cannot", fault)
        sys.exit(2)
    except RefusedError as fault:
        complain("refused", fault)
        sys.exit(3)
    except KeyboardInterrupt:
        complain("stopped", "interrupted; run the command again to go on from the last finished step")
        sys.exit(1)


if __name__ == "__main__":
    main()
