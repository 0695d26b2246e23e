"""What is CUDA's own: devices, streams and order, memory, and planmath's own kernels."""
