"""Measuring candidates, and the record of what was measured."""
