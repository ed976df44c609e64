"""Second factors: what a person proves besides their number."""
