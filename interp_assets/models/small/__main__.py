"""``python -m interp_assets.models.small`` trains the small releases (see `making`)."""

import sys

from interp_assets.models.small.making import main

if __name__ == "__main__":
    sys.exit(main())
