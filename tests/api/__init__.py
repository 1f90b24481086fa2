"""Tests of the endpoints: captures in the documented shapes go in as bytes, deltas come out."""
