"""What the edge knows of rate limits: which ones a request counts against, and how an answer tells them."""
