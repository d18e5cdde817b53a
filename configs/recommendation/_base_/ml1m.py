"""MovieLens-1M by leave-one-out: each user's last item among 99 that the user did not rate.

``data/ml-1m/`` holds ``ml-1m.train.rating`` and ``ml-1m.test.negative``, as the public split of He
et al. 2017 has them or as tools/dataset_converters/movielens.py makes them of MovieLens' own file.
"""

data_root = "data/ml-1m/"  # relative to the folder in which the command runs
num_users, num_items = 6040, 3706

train_dataloader = dict(
    batch_size=256,  # choices, each with 4 items that the user did not choose
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="mmptq.RatedItems",
        data_root=data_root,
        ann_file="ml-1m.train.rating",
        num_users=num_users,
        num_items=num_items,
        num_negatives=4,
    ),
)
# The same choices, with the same items at each calibration.
calib_dataloader = dict(dataset=train_dataloader["dataset"])
test_dataloader = dict(
    batch_size=200,  # users
    num_workers=0,
    persistent_workers=False,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="mmptq.CandidateLists",
        data_root=data_root,
        ann_file="ml-1m.test.negative",
        num_users=num_users,
        num_items=num_items,
        test_mode=True,
    ),
)
val_dataloader = test_dataloader
test_evaluator = dict(type="mmptq.HitRate", k=10)
val_evaluator = test_evaluator
