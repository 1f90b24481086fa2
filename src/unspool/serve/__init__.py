"""Serving kept answers over HTTP. No framework is imported."""
