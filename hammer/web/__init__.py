"""What every blueprint needs: who is calling, how often, in which language, and what each answer carries."""
