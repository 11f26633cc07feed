"""gRPC: the service, its client, mutual TLS and who may call what."""
