"""Train every case anew and write the record: ``python -m hwsim.experiments.nm_training``."""

from __future__ import annotations

import logging
import sys

from hwsim.core.errors import InputError
from hwsim.experiments.nm_training import require_extra


def main() -> int:
    """Return 0, or 2 if the extra is missing."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("hwsim").setLevel(logging.INFO)
    try:
        require_extra()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    from hwsim.experiments.nm_training.study import record_study

    record_study()
    return 0


if __name__ == "__main__":
    sys.exit(main())
