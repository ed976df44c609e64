"""The cost of Hammer, compared with a floor measured in the same run; not in the test suite. `make bench`, docs/performance.md.

__main__    the command: measures operations, numbers of connections and databases, and prints the tables
hammer_app  Hammer with the rules of production; texts stay in the outbox, for another process to send
floor       bare Flask with raw driver calls that send the same statements
servers     either application in its own processes, and their CPU time
load        the clients: connections and operations
"""

import gc

from flask import Flask


def as_deployed(app: Flask) -> Flask:
    """The application with garbage collection as in `wsgi.py`. The package of the tests turns it off."""
    gc.freeze()
    gc.enable()
    return app
