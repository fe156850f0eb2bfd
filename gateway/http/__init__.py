"""HTTP as pure rules: bytes in, values out. No sockets, no clocks, no logs."""
