"""What planmath shows a person: tables of what a plan chose and what it cost."""
