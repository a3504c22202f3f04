"""The media layer on PJSIP: ``backend.PjsipMedia``. Its extension ``sip`` is built by ``make media``."""
