"""The page where people look at what was mined, and ask why it is believed."""
