"""The core of credits: accounts, commands, decisions and entries as values and pure functions. No I/O."""
