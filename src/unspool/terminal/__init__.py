"""What a person sees: text made safe, and the descriptors it is written to. Knows no HTTP and no journals."""
