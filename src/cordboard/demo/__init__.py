"""The demo: a center of 32 agents at work for one simulated day.

The people (callers, agents, leads) are made up; everything that decides is the real engine.
"""
