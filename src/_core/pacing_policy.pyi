class Policy:
    """A policy that never dials; real ones override its methods at C level."""
