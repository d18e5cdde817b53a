"""What a calibration reads: images, their statistics, float weights."""
