"""What trained runs make, of latents, of examples and of image files."""
