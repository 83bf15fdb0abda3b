"""What all HTTP requests, callables and triggers share, from authentication to error answers. Knows no feature."""
