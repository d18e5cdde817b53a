"""Folders of small images, to train on, too: the validation set is the test set."""

_base_ = "./image_folders.py"

# Starting worker processes would take longer than decoding such images.
train_dataloader = dict(num_workers=0, persistent_workers=False)
_base_.test_dataloader.update(batch_size=250, num_workers=0, persistent_workers=False)
val_dataloader = _base_.test_dataloader
val_evaluator = _base_.test_evaluator
