"""Other people's dialers, written here after their published behavior, to be judged in the same world.

Each is a policy of ``cordboard.pacing.world.run``. What the world tells a dialer about leads' probabilities is not used
by any of them but the marginal-risk rule, which is given the true parameters.
"""
