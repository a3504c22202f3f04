"""The gRPC services: every rpc translates its message, calls one method of the library, and translates the answer."""
