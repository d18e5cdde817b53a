"""One process against two: what benchmarks/scaling.py is made of.

worker.py measures the parts of a calibration in the processes that started it; points.py starts it
and keeps what it says; held.py says whether what is promised of the results was seen; cost_model.py
fits seconds to them and tells those of a larger model on more devices.
"""
