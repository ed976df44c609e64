"""How often something may be done: guesses, texts, invite attempts; and that a repeated request is done once."""
