"""How many requests a caller may make in a minute, whichever instances serve them."""
