"""What a user calls: text in, images out. The public names are those of `mindone.diffusers`."""
