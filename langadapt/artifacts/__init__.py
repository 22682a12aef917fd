"""What stages leave behind, and how it is read again."""
