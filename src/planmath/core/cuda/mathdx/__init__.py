"""Device functions of libmathdx: what it is told, the code that comes of it, and where that is kept."""
