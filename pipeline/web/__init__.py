"""The page for people, and REST for programs."""
