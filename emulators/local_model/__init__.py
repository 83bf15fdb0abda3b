"""A small language model that really runs on this machine: llama.cpp's own server, from packages. See README.md."""
