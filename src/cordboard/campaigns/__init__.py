"""Outbound campaigns: lists of numbers, when each may be dialed, and who dials them."""
