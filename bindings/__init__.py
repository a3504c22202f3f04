"""Media layers that place real calls: ``pjsip`` for production, ``wheel`` for trial; see README.md."""
