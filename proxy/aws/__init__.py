"""What AWS wants of a request: whose service and region it is, and the signatures. Knows no credential kind."""
