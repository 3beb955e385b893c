"""The training run: state, schedules, step and loop."""
