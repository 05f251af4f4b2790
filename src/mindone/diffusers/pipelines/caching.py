"""Caches that contradict the run are refused here, before any network runs."""

from .run import Run


def check_caches(run: Run) -> None:
    """Check the run's caches against its steps, its network and its scheduler.

    Raises:
        ValueError: a cache that would spare nothing, or that cannot work.
    """
    for cache in run.caches:
        cache.check(len(run.timesteps), len(run.denoiser.cuts))
        if cache.kind != "features" and getattr(run.scheduler, "distilled", False):
            raise ValueError(
                f"{type(cache).__name__} cannot foretell the steps of {type(run.scheduler).__name__}, each of which "
                "starts from new noise; use DeepCacheConfig, or another scheduler"
            )
        if cache.kind == "guidance" and run.settings.image_guidance_scale is not None:
            raise ValueError(f"{type(cache).__name__} forecasts one difference, and a run that edits a picture has two")
        if cache.kind == "guidance" and not run.do_classifier_free_guidance:
            raise ValueError(
                f"{type(cache).__name__} spares guidance, and this run has none; give a guidance_scale above 1, or "
                "no cache"
            )
