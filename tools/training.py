"""What the training scripts change in a float config."""

from mmengine.config import Config

SEED = 0


def change_config(cfg: Config, work_dir: str, epochs: int | None, data_root: str | None) -> None:
    """Settings of one training, whose last weights alone are kept, by the script that calls this.

    Args:
        cfg: Of the float model; its schedulers may be by iteration or by epoch.
        work_dir: For logs.
        epochs: None: as the config says.
        data_root: Of all its sets; None: as the config says.
    """
    cfg.work_dir = work_dir
    cfg.randomness = dict(seed=SEED)
    cfg.default_hooks.checkpoint = dict(type="CheckpointHook", interval=-1, save_last=False)
    if data_root:
        for key in ("train_dataloader", "val_dataloader", "test_dataloader"):
            cfg[key].dataset.data_root = data_root
    if epochs:
        cfg.train_cfg.max_epochs = epochs
        for scheduler in cfg.param_scheduler:
            if scheduler.get("by_epoch"):
                scheduler.update(T_max=epochs, end=epochs)
