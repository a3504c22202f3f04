"""Calls: what connects contacts, queues and agents with legs and their audio."""
