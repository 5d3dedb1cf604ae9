"""The demo, scoring against the simulator's truth, and peers: every published figure has its command here."""
