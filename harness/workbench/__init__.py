"""The use cases, one function each: what Python, the command line and the tests call."""
