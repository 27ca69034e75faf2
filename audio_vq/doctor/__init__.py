"""What `audio-vq doctor` looks at. Nothing here imports a library that may be broken before its probe does."""
