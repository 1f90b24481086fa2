"""Answers that are kept in journals: shown again, and gone on from."""
