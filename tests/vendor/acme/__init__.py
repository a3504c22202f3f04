"""A vendor that embeds the routing engine and the formulas without touching Python objects in its loop."""
