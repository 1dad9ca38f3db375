"""Programs that the doctor starts: each is run by its path, by the interpreter or runtime that is to be tried."""
