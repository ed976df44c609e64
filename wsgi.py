"""The application, for a server: `gunicorn --config gunicorn.conf.py`."""

import gc

gc.disable()  # What is imported stays: to look for rubbish among it takes a sixth of the start.

from hammer import create_app  # noqa: E402

app = create_app()
gc.freeze()
gc.enable()
