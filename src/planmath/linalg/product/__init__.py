"""What products of matrices share: matrices in memory, and the calls around a product."""
