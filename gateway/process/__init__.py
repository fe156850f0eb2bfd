"""One worker's life: wiring, start, reload, drain, recovery. The only floor that puts parts together."""
