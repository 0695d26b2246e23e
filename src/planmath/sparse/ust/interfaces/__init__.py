"""Universal sparse tensors in the place of other packages' own. Each module imports its package."""
