"""Programs of others sign people in through a running Hammer, as relying parties of OpenID Connect."""
