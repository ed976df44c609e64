"""Login by a one-time code, the verifications that prove a telephone number, and the creation of users."""
