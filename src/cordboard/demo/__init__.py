"""The demo: a center of 32 agents at work for one simulated day.

``world`` holds the people (callers, agents, leads), who are made up; everything that decides is the real engine.
"""
