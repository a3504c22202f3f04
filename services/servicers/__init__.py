"""One module a service, each with one class that has a method for every rpc."""
