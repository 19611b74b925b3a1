"""Which real images a form starts from or keeps."""
