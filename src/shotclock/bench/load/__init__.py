"""Load tests by MLPerf's scenarios: arrivals fixed beforehand, latency from the scheduled instant."""
