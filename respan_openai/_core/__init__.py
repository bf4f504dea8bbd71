"""Decisions only: nothing in here knows an HTTP library, a clock or a socket, so every rule is a table test."""
