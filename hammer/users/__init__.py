"""Users: what is changed about accounts, the reading of names and metadata, profiles, data exports, and files of all users."""
