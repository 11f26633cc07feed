"""Recognises QAOA circuits by what they do."""
