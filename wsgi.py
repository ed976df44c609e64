"""The application, for a server: `gunicorn --config gunicorn.conf.py`."""

import gc

gc.disable()  # Imports create no garbage. Searching for it would take a sixth of the start-up time.

from hammer import create_app  # noqa: E402

app = create_app()
gc.freeze()
gc.enable()
