"""One corpus of raw requests through nginx and through the gateway, and what became of them."""
