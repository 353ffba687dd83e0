"""Addresses, the bridge and its rules."""
