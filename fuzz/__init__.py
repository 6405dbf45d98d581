"""Hostile bytes for everything that reads them: `targets` says what and what must hold, `run` lets atheris look for more (make fuzz)."""
