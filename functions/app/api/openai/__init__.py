"""What the edge knows of the clients that OpenAI's API has."""
