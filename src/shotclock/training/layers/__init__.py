"""Layers and parameters that kernels act on."""
