"""Predictive pacing: how many numbers to dial now, which ringing calls to cancel, when to look again."""
