"""Virtual-time event loop, loop thread, process offload."""
