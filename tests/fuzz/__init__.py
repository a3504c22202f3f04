"""Fuzzing that runs as long as one lets it; not a part of the suite."""
