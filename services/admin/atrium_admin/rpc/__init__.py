"""gRPC: protos to domain values and back."""
