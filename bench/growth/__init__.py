"""How cost grows with the number of keys, routes, policies, idle connections and records."""
