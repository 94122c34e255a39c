"""What an example is: how it is decoded for networks, and shown and written for people."""
