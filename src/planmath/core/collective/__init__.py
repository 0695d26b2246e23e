"""What operations across processes share: groups, agreement, index sets, exchanges."""
