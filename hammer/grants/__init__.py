"""Apps that people sign in to (OpenID Connect): what an app asks for, what people allow it, and what it is given."""
