"""Recognises QAOA circuits by their action."""
