"""Redistribution: each rank gives what it has of an array, and gets what it shall have."""
