"""A checkpoint's units: raw numbers to those its network sees, and its actions back."""



from lwd_core.rl.vla.config import Units

EPS = 1e-8  # LeRobot's
_NEEDED: dict[Units, tuple[str, ...]] = {
    "mean_std": ("mean", "std"),
    "quantiles": ("q01", "q99"),
    "quantile10": ("q10", "q90"),
    "min_max": ("min", "max"),
    "identity": (),
}
