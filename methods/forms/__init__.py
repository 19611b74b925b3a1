"""Stored forms: how a budget becomes geometry and initial values."""
