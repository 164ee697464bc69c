"""Tracked experiments that tell which network, started how, tells species apart best."""
