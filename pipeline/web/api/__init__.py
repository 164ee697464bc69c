"""What programs ask, under /api."""
