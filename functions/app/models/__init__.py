"""The model vendors: the catalogue, the prices, and the gateway that calls them."""
