"""What outlives a process: the RDB format, DUMP payloads and the encodings inside both. No file and no socket here."""
