"""When the platform acts by itself: conditions, sensors and schedules, each thin around a pure function."""
