"""The sync service: pushes each change of a task to its owner's open pages, in order, and lets late ones catch up."""
