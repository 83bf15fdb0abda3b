"""A conversation as a file: `schemas` is its JSON, `transcript` its Markdown, `exporting` reads it page by page."""
