"""The derivatives of a ConvNet written out: compiled kernels, PyTorch operations, and torch.compile."""
