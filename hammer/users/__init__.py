"""Users: what is changed about accounts, the reading of names, profiles, and data exports."""
