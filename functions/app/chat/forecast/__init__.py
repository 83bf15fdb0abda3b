"""What is known of a message before it is sent: `POST /chat/estimate`."""
