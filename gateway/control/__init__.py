"""What operators may do, transport-free; the command line and the admin plane both call it."""
