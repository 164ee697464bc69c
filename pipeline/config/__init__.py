"""Every choice a user can make: the closed schema, and what is known of each key."""
