"""Media layers that place real calls. ``cordboard.bindings.pjsip`` is the one for production; see README.md."""
