"""What a job runs on: devices, processes, compiled programs kept on disk, memory, its start."""
