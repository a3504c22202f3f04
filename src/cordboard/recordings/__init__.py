"""Recordings of calls: the sealed file that a media node writes, and how it is read."""
