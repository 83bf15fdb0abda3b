"""What is decided of a message before it is answered: its task, its price, its model. It knows no conversation."""
