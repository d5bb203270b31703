"""What the noise of an image is, and how noise is made."""
