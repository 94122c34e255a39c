"""What players play for: losses, penalties, and the rules between a discriminator and those that it judges."""
