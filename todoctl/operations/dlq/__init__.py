"""Dead letters on a cluster: reading them with what was decided, planning, re-publishing, parking and purging."""
