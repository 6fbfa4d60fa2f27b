"""One outside thing each; plain values in and out."""
