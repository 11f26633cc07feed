"""The provider's health: breaker, retries, concurrency, latency, submission rate."""
