"""Methods side by side on models: what benchmarks/methods.py is made of.

Data are models.py, methods.py and columns.py. A cell (plan.py) is one of each and a seed.
campaign.py measures cells one after another by measure.py; kept.py keeps what one finds on each
test image, from which intervals.py says how sure a difference is; tables.py shows it.
"""
