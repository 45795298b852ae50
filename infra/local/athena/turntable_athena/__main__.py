"""Starts the endpoint: `python -m turntable_athena --region REGION`. See server.py for the options."""

import sys

from .server import main

sys.exit(main())
