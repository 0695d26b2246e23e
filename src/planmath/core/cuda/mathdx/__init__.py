"""Device functions of libmathdx: what it is told of one, and the code that comes of it."""
