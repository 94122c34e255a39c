"""The loop, what is compiled of it, what it writes, and its repetition."""
