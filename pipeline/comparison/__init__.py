"""Finished runs side by side: ranking, which choice mattered."""
