"""The live engine: one writer, a durable journal, and who may do what. No gRPC in here."""
