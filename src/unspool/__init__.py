"""unspool streams answers from the OpenAI API, and from every server that speaks it, and never loses a token."""

from __future__ import annotations

__version__ = "0.1.0"
