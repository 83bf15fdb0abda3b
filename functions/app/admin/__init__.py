"""Routes and figures for administrators. It may import every feature; only the composition root imports it."""
