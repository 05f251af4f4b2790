"""Jobs: all settings of an image as data, which its PNG file stores and returns."""

from mindone.diffusers.jobs import Job, draw, load
from mindone.diffusers.jobs.png import read_job, save_png

job = Job(prompt="a rocket on a blue background", seed=7, steps=10, scheduler="dpm++")
pipe = load(job)
[image] = draw(pipe, job)
save_png(image, "jobs.png", job, about={})

again = read_job("jobs.png")
assert again == job
[same] = draw(pipe, again)
assert same.tobytes() == image.tobytes()
print(again.to_json())
