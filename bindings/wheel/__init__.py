"""Real calls by pjsua2 from PyPI, in a pool of child processes: for trial and tests. :mod:`pool` is the media layer."""
