"""The programs that the local environment runs: where they are found and how they are brought."""
