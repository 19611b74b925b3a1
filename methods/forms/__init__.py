"""Stored forms: how a budget becomes geometry and initial values. What decodes a form lies in ``bench/decoders/``."""
