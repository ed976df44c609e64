"""The tests: a file for each rule or flow, its tests named as sentences. `conftest.py` says what a test can ask for."""
