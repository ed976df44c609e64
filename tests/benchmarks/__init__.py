"""What Hammer costs, beside a floor measured in the same run; no part of the test suite. `make bench`, and docs/performance.md.

__main__    the command: which deeds, at how many connections, on which databases; prints the tables
hammer_app  Hammer as it is measured: production's rules, and texts left in the outbox for another process to carry
floor       bare Flask with raw driver calls doing the same statements
servers     either of them in processes of its own, and how much CPU those used
load        who knocks: connections, and the deeds
"""
