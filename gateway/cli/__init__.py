"""What an operator types; one module a command group. Only output.py prints."""
