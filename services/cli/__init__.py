"""Commands that need the services: ``cordboard.cli`` finds them by the names in its table."""
