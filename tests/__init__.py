"""The tests: a file for each rule or flow, its tests named as sentences. `conftest.py` says what a test can ask for."""

import gc

gc.disable()  # Imports and the collection of tests create no garbage. Searching for it would take a quarter of their time.
