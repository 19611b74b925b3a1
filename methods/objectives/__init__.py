"""What is optimised, and its gradient with respect to the stored numbers."""
