"""gRPC: protos to domain and back, nothing else."""
