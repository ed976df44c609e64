"""What every blueprint needs: who is calling, how often, in which language, and the headers of every answer."""
