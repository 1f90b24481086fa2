"""Seeing kept answers again."""
