"""``python -m unspool``: the command."""

from unspool.cli import main

raise SystemExit(main())
