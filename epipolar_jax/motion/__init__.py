"""3D joints over time, and their files."""
