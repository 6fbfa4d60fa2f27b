"""The commands as typed, one file per noun: parse, request, call, show."""
